//! `skep restart`: stops an agent and starts it again with its state. Never loses a message.

use std::time::Duration;

use hyper::Method;

use super::{Context, complete};
use crate::api::text::percent_encoded;
use crate::api::types::Done;
use crate::failure::Outcome;
use crate::output::{Document, Table};

/// An agent may take its whole `shutdown` time.
const USUAL: Duration = Duration::from_secs(120);

/// Restart an agent; its mailbox and its durable state stay
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  skep restart ledger")]
pub struct Args {
    /// The agent
    #[arg(add = complete::agents())]
    agent: String,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let path = format!("/v1/agents/{}/restart", percent_encoded(&args.agent));
    let work = async { context.connect().await?.request(Method::POST, &path).await };
    let done: Done = context.within(USUAL, work).await?;
    let table = Table::of_pairs([("restarted", done.name.clone())]);
    context.output.print(&Document::one("Done", &done, done.name.clone(), table))
}
