//! `skep send`: gives an agent a message and does not wait for what it makes of it.

use super::{Context, complete, input};
use crate::api::types::{Accepted, MessageQuery};
use crate::client::Outgoing;
use crate::failure::Outcome;
use crate::output::{Document, Table};

/// Send a message to an agent; it is as durable as the agent when this returns
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep send ledger '{\"add\": 3}' --kind entry
  skep send ledger @entry.json --kind entry --client-id entry-17")]
pub struct Args {
    /// The agent
    #[arg(add = complete::agents())]
    agent: String,
    /// The body: a text, @FILE, or - for stdin
    #[arg(default_value = "", hide_default_value = true)]
    body: String,
    /// What the message is, in the agent's terms
    #[arg(long, default_value = "message")]
    kind: String,
    /// The channel [default: events]
    #[arg(long, value_parser = input::channels())]
    channel: Option<String>,
    /// Your own id of the message: the same id again is handled once
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    client_id: Option<String>,
    /// A header of the message; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let body = input::body(context, args.body)?;
    let headers = input::headers(args.headers)?;
    let query = MessageQuery { kind: args.kind, channel: args.channel, client_id: args.client_id, timeout_ms: None };
    let message = Outgoing { query, headers, body };
    let accepted: Accepted = context.with_host(async |mut host| host.send(&args.agent, &message).await).await?;
    let table = Table::of_pairs([("accepted", accepted.id.clone())]);
    context.output.print(&Document::one("Accepted", &accepted, accepted.id.clone(), table))
}
