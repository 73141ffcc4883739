//! `skep call`: asks an agent and prints its reply. Never looks into the reply.

use std::time::Duration;

use serde::Serialize;

use super::{Context, complete, input};
use crate::api;
use crate::api::types::{Body, MessageQuery};
use crate::client::Outgoing;
use crate::failure::Outcome;
use crate::output::{Document, Format, Table};

/// How long a reply is waited for, unless the command line says otherwise.
const USUAL: Duration = Duration::from_secs(5);
/// What the command waits beyond the reply's own time.
const GRACE: Duration = Duration::from_secs(2);

/// Ask an agent and print its reply
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep call counter '{\"by\": 1}' --kind add
  skep call digest @photo.jpg --timeout 30s
  echo hello | skep call echo -")]
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
    /// Your own id of the message: the same id again is handled once and gets the same reply
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    client_id: Option<String>,
    /// A header of the message; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
}

/// `Reply`: what an agent answered.
#[derive(Serialize)]
struct Reply {
    agent: String,
    reply: Body,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let body = input::body(context, args.body)?;
    let headers = input::headers(args.headers)?;
    let timeout = context.timeout.unwrap_or(USUAL);
    let query = MessageQuery {
        kind: args.kind,
        channel: args.channel,
        client_id: args.client_id,
        timeout_ms: u64::try_from(timeout.as_millis()).ok(),
    };
    let message = Outgoing { query, headers, body };
    let patient = Context { timeout: Some(timeout + GRACE), ..context.clone() };
    let reply = patient.with_host(async |mut host| host.ask(&args.agent, &message).await).await?;
    if context.output.format == Format::Table {
        return context.output.write_foreign(&reply);
    }
    let shape = Reply { agent: args.agent.clone(), reply: api::body(&reply) };
    context.output.print(&Document::one("Reply", &shape, args.agent, Table::default()))
}
