//! `skep dead-letters`: messages that nobody could handle, and what to do with them.

use clap::Subcommand;
use hyper::Method;

use super::{Context, complete};
use crate::api::types::{Accepted, DeadLetter, Done, List};
use crate::failure::Outcome;
use crate::output::{Document, Table};

/// Look at messages that nobody could handle; retry or drop them
#[derive(Debug, Subcommand)]
pub enum Sub {
    /// List the dead letters, the oldest 1,000
    #[command(before_help = "Example:\n  skep dead-letters list")]
    List,
    /// Show one with its body and its last failure
    #[command(before_help = "Example:\n  skep dead-letters show 0f3b...")]
    Show(Id),
    /// Deliver one again, as a new message that says what it repeats
    #[command(before_help = "Example:\n  skep dead-letters retry 0f3b...")]
    Retry(Id),
    /// Delete one
    #[command(before_help = "Example:\n  skep dead-letters drop 0f3b...")]
    Drop(Id),
}

/// Which.
#[derive(Debug, clap::Args)]
pub struct Id {
    /// The id of the message
    #[arg(add = complete::dead_letters())]
    id: String,
}

pub(super) async fn run(context: &Context, sub: Sub) -> Outcome {
    match sub {
        Sub::List => list(context).await,
        Sub::Show(which) => show(context, &which.id).await,
        Sub::Retry(which) => retry(context, &which.id).await,
        Sub::Drop(which) => drop_one(context, &which.id).await,
    }
}

fn path(id: &str) -> String {
    format!("/v1/dead-letters/{}", crate::api::text::percent_encoded(id))
}

async fn list(context: &Context) -> Outcome {
    let letters: List<DeadLetter> = context.with_host(async |mut host| host.get("/v1/dead-letters").await).await?;
    let mut table = Table::new(&["id", "to", "kind", "reason", "attempts", "time"]);
    for letter in &letters.items {
        table.row([
            letter.id.clone(),
            letter.to.clone(),
            letter.message_kind.clone(),
            reason(letter),
            letter.attempts.to_string(),
            letter.time.clone(),
        ]);
    }
    let names = letters.items.iter().map(|letter| letter.id.clone()).collect();
    context.output.print(&Document::list("DeadLetterList", &letters.items, names, table))
}

async fn show(context: &Context, id: &str) -> Outcome {
    let letter: DeadLetter = context.with_host(async |mut host| host.get(&path(id)).await).await?;
    let body = letter.body.as_ref().map_or_else(String::new, |body| {
        let text = body.json.as_ref().map(ToString::to_string).or_else(|| body.text.clone());
        text.unwrap_or_else(|| format!("{} bytes, no text: use -o json", body.bytes))
    });
    let table = Table::of_pairs([
        ("id", letter.id.clone()),
        ("to", letter.to.clone()),
        ("from", letter.from.clone().unwrap_or_else(|| "outside".to_owned())),
        ("kind", letter.message_kind.clone()),
        ("channel", letter.channel.clone()),
        ("reason", reason(&letter)),
        ("attempts", letter.attempts.to_string()),
        ("time", letter.time.clone()),
        ("body", body),
    ]);
    context.output.print(&Document::one("DeadLetter", &letter, letter.id.clone(), table))
}

async fn retry(context: &Context, id: &str) -> Outcome {
    let path = format!("{}/retry", path(id));
    let again: Accepted = context.with_host(async |mut host| host.request(Method::POST, &path).await).await?;
    let table = Table::of_pairs([("accepted", again.id.clone())]);
    context.output.print(&Document::one("Accepted", &again, again.id.clone(), table))
}

async fn drop_one(context: &Context, id: &str) -> Outcome {
    let done: Done = context.with_host(async |mut host| host.request(Method::DELETE, &path(id)).await).await?;
    let table = Table::of_pairs([("dropped", done.name.clone())]);
    context.output.print(&Document::one("Done", &done, done.name.clone(), table))
}

fn reason(letter: &DeadLetter) -> String {
    match &letter.detail {
        Some(detail) => format!("{}: {detail}", letter.reason),
        None => letter.reason.clone(),
    }
}
