//! `skep version`: what this binary is. Never asks a host.

use serde::Serialize;

use super::Context;
use crate::api::types::API_VERSION;
use crate::failure::Outcome;
use crate::output::{Document, Table};

/// Print the version of Skep and of what it speaks
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  skep version -o json")]
pub struct Args {}

#[derive(Serialize)]
struct Version {
    version: &'static str,
    api: &'static str,
    world: &'static str,
}

/// The WIT package that guests are built against.
const WORLD: &str = "skep:agent@0.1.0";

pub(super) fn run(context: &Context, _: Args) -> Outcome {
    let version = Version { version: env!("CARGO_PKG_VERSION"), api: API_VERSION, world: WORLD };
    let table = Table::of_pairs([
        ("skep", version.version.to_owned()),
        ("api", version.api.to_owned()),
        ("world", version.world.to_owned()),
    ]);
    context.output.print(&Document::one("Version", &version, version.version, table))
}
