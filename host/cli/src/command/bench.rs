//! `skep bench`: what this machine does with Skep and without.

use std::path::PathBuf;

use super::Context;
use crate::bench::{self, Options};
use crate::failure::Outcome;

/// Measure this machine with Skep and without, and hold the ratios against their bars
///
/// Every figure is the best of several rounds. A ratio is that of a number and its control in one and the same round, where
/// they are measured one right after the other, and the best round counts: the lowest ratio of a cost, the highest of a rate.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep bench                     all numbers, in under two minutes
  skep bench --quick --only ask,tell
  skep bench -o json > bench.json")]
pub struct Args {
    /// Only these numbers, with their controls
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Less of everything, in under 20 seconds: for a look, not for a claim
    #[arg(long)]
    quick: bool,
    /// The bench's guest [default: where `make guests` puts it, or beside skep]
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Measure in this process what is otherwise measured in one of its own
    #[arg(long, hide = true)]
    alone: bool,
}

pub(super) fn run(context: &Context, args: Args) -> Outcome {
    let Args { only, quick, component, alone } = args;
    bench::run(context, &Options { only, quick, component, data: context.data.clone(), alone })
}
