//! `skep swap`: another version of a plugin while messages flow. Never writes into the manifest.

use std::path::PathBuf;
use std::time::Duration;

use super::{Context, complete, describe};
use crate::api::types::{Receipt, SwapRequest};
use crate::failure::{Failure, Outcome};
use crate::output::{Document, Format, Table};

/// A swap compiles a plugin and waits for running turns.
const USUAL: Duration = Duration::from_secs(300);

/// Swap an agent or a whole plugin for another version while messages flow
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep swap digest digest-v2.wasm      every agent that runs the plugin digest
  skep swap digest-1 digest-v2.wasm    one agent
  skep swap agent:digest new.wasm      one agent, where a plugin with other agents has its name")]
pub struct Args {
    /// An agent or a plugin; agent:NAME or plugin:NAME where both have the name
    #[arg(value_name = "AGENT|PLUGIN", add = complete::agents_and_plugins())]
    target: String,
    /// The component file of the new version
    file: PathBuf,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let what = crate::api::socket::shown_path(&args.file);
    // The host may run in another folder.
    let file = args.file.canonicalize().map_err(|error| Failure::new("E_PLUGIN_IO", format!("{what}: {error}")))?;
    let request = SwapRequest { target: args.target.clone(), file: file.to_string_lossy().into_owned() };
    let work = async { context.connect().await?.post("/v1/swap", &request).await };
    let receipt: Receipt = context.within(USUAL, work).await?;
    if context.output.format == Format::Table && context.output.terminal {
        context.output.note(&summary(&receipt));
    }
    let mut table = Table::new(&["agent", "lost", "replayed", "pause ms", "from", "to"]);
    for agent in &receipt.agents {
        table.row([
            agent.agent.clone(),
            agent.lost.to_string(),
            agent.replayed.to_string(),
            format!("{:.3}", agent.pause_ms),
            describe::short_digest(&receipt.from),
            describe::short_digest(&receipt.to),
        ]);
    }
    context.output.print(&Document::one("Receipt", &receipt, args.target, table))
}

/// The receipt in one line.
pub(crate) fn summary(receipt: &Receipt) -> String {
    format!(
        "swapped {}: lost {}, replayed {}, pause {:.1} ms, {} -> {}",
        receipt.target,
        receipt.lost,
        receipt.replayed,
        receipt.pause_ms,
        describe::short_digest(&receipt.from),
        describe::short_digest(&receipt.to),
    )
}
