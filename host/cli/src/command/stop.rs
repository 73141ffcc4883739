//! `skep stop`: ends an agent for good. Never deletes its state unless it is told to.

use std::time::Duration;

use hyper::Method;

use super::{Context, complete};
use crate::api::text::percent_encoded;
use crate::api::types::Done;
use crate::failure::Outcome;
use crate::output::{Document, Table};

/// An agent may take its whole `shutdown` time.
const USUAL: Duration = Duration::from_secs(120);

/// Stop an agent for good; its waiting messages become dead letters, its state stays
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep stop worker-9
  skep stop worker-9 --purge     with its state")]
pub struct Args {
    /// The agent
    #[arg(add = complete::agents())]
    agent: String,
    /// Delete its state too
    #[arg(long)]
    purge: bool,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let path = format!("/v1/agents/{}?purge={}", percent_encoded(&args.agent), args.purge);
    let work = async { context.connect().await?.request(Method::DELETE, &path).await };
    let done: Done = context.within(USUAL, work).await?;
    let table = Table::of_pairs([(if args.purge { "purged" } else { "stopped" }, done.name.clone())]);
    context.output.print(&Document::one("Done", &done, done.name.clone(), table))
}
