//! `skep events`: what happened in the host, and what happens. Never keeps any.

use std::time::Duration;

use super::{Context, complete, describe};
use crate::api::socket::noted;
use crate::api::text::percent_encoded;
use crate::api::types::{Event, HostStatus, Missed, Versioned};
use crate::client::find_data_dir;
use crate::failure::{Failure, Outcome};
use crate::output::{Document, Format, Table};

/// How long a host may take to tell what it keeps.
const USUAL: Duration = Duration::from_secs(30);

/// Print what happened in the host, and with -f what happens
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep events --last 20
  skep events -f --kind agent. --agent ledger
  skep events -f -o jsonl | jq 'select(.severity == \"warn\")'")]
pub struct Args {
    /// Go on until interrupted or the host ends; turns are seen only this way
    #[arg(short, long)]
    follow: bool,
    /// Only of this agent; with -f of one that is still to come, too
    #[arg(long, add = complete::agents())]
    agent: Option<String>,
    /// Only events whose name begins so: agent., message.dead-letter, swap.,turn.
    #[arg(long, value_name = "NAME", add = complete::kinds())]
    kind: Option<String>,
    /// Only the last so many of the past [default: all that the host keeps]
    #[arg(long, value_name = "COUNT")]
    last: Option<usize>,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let path = path(args.follow, args.agent.as_deref(), args.kind.as_deref(), args.last);
    print(context, &path, args.follow, row).await
}

/// The request for a stream of events.
pub(super) fn path(follow: bool, agent: Option<&str>, kind: Option<&str>, last: Option<usize>) -> String {
    let mut path = format!("/v1/events?follow={follow}");
    for (name, value) in [("agent", agent), ("event", kind)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", percent_encoded(value)));
        }
    }
    if let Some(last) = last {
        path.push_str(&format!("&recent={last}"));
    }
    path
}

/// How an event is shown; none: not at all.
pub(super) type Row = fn(&Event) -> Option<Vec<String>>;

/// Prints a stream, a row an event. A stream has no JSON value of its own: `json` is one value a line too.
pub(super) async fn print(context: &Context, path: &str, follow: bool, row: Row) -> Outcome {
    let mut lines = context.within(USUAL, async { context.connect().await?.lines(path).await }).await?;
    let mut count = 0u64;
    let read = async {
        loop {
            match lines.next().await {
                Ok(Some(line)) => show(context, &line, row)?,
                Ok(None) => return Ok(()),
                Err(failure) => return if has_left(context) { Ok(()) } else { Err(failure) },
            }
            count += 1;
        }
    };
    match (follow, context.timeout) {
        (true, None) => read.await,
        // With -f a time limit is how long to listen, no failure.
        (true, Some(limit)) => tokio::time::timeout(limit, read).await.unwrap_or(Ok(())),
        (false, _) => context.within(USUAL, read).await,
    }?;
    if !follow && count == 0 { tell_why_nothing(context).await } else { Ok(()) }
}

/// Whether the host has ended in order: it takes its note with it, and its streams break off after that. One that was
/// killed leaves the note.
fn has_left(context: &Context) -> bool {
    find_data_dir(context.data.as_deref()).is_ok_and(|data| noted(&data).is_none())
}

/// Nothing at all may be so because nothing is kept.
async fn tell_why_nothing(context: &Context) -> Outcome {
    let status: HostStatus = context.with_host(async |mut host| host.get("/v1/status").await).await?;
    if !status.telemetry {
        context.output.note("this host keeps no events (`skep up --no-telemetry`); -f shows those that are to come");
    }
    Ok(())
}

fn show(context: &Context, line: &[u8], row: Row) -> Outcome {
    let strange =
        |error: serde_json::Error| Failure::new("E_API_VERSION", format!("an event is not understood: {error}"));
    let is_json = matches!(context.output.format, Format::Json | Format::Jsonl);
    let shape: Versioned<serde_json::Value> = serde_json::from_slice(line).map_err(strange)?;
    if shape.kind == "Missed" {
        if is_json {
            return context.output.write_json(line);
        }
        let missed: Missed = serde_json::from_value(shape.body).map_err(strange)?;
        context.output.note(&format!("{} events were missed: this reader is slower than the host", missed.missed));
        return Ok(());
    }
    let event: Event = serde_json::from_value(shape.body).map_err(strange)?;
    let Some(cells) = row(&event) else { return Ok(()) };
    if is_json {
        return context.output.write_json(line);
    }
    let mut table = Table::default();
    table.row(cells);
    context.output.print(&Document::one("Event", &event, event.event.clone(), table))
}

fn row(event: &Event) -> Option<Vec<String>> {
    Some(vec![
        event.time.clone(),
        event.severity.clone(),
        event.event.clone(),
        event.agent.clone().unwrap_or_else(|| "-".to_owned()),
        describe::fields(event),
    ])
}
