//! `skep down`: stops a host in order. Never kills it.

use std::time::Duration;

use hyper::Method;

use super::Context;
use crate::api::types::Done;
use crate::failure::Outcome;
use crate::output::{Document, Table};

/// All agents may take their whole `shutdown` time, one after another.
const USUAL: Duration = Duration::from_secs(300);

/// Stop the host in order: agents in reverse order of their start; returns when its process has ended
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep down
  skep down --data /var/lib/hive")]
pub struct Args {}

pub(super) async fn run(context: &Context, _: Args) -> Outcome {
    let done: Done = context.within(USUAL, stopped(context)).await?;
    let table = Table::of_pairs([("stopped", done.name.clone())]);
    context.output.print(&Document::one("Done", &Done { done: "stopped".to_owned(), ..done.clone() }, done.name, table))
}

async fn stopped(context: &Context) -> Outcome<Done> {
    // A stream of events breaks off with the process, not before.
    let mut end = context.connect().await?.lines("/v1/events?follow=true&recent=0").await?;
    let done: Done = context.connect().await?.request(Method::POST, "/v1/shutdown").await?;
    while let Ok(Some(_)) = end.next().await {}
    Ok(done)
}
