//! `skep demo`: a folder is indexed by agents while one traps, one is swapped and the host is killed. Never a part of
//! the demo itself.

use std::path::PathBuf;

use super::Context;
use crate::demo::{self, Options};
use crate::failure::Outcome;

/// Index a folder with agents that survive a crash, a swap and a kill -9, and prove that nothing is lost
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep demo                      this folder
  skep demo ~/src --agents 8
  skep demo --cluster            on two hosts with a NATS server between them")]
pub struct Args {
    /// The folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// How many digest agents there are
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    agents: u32,
    /// Spread them over two hosts of one hive, of which one is killed; it takes two agents and a nats-server
    #[arg(long)]
    cluster: bool,
    /// The folder with digest.wasm, digest-v2.wasm and ledger.wasm [default: where `make` puts them, or beside skep]
    #[arg(long, value_name = "DIR")]
    components: Option<PathBuf>,
}

pub(super) fn run(context: &Context, args: Args) -> Outcome<u8> {
    let options = Options {
        dir: args.dir,
        agents: args.agents,
        cluster: args.cluster,
        components: args.components,
        data: context.data.clone(),
    };
    demo::run(context, &options)
}
