//! `skep session`: runs of protocols over agents of the hive: opened, watched, called off.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;
use skep_core::session::Member;
use skep_runtime::SessionSpec;

use super::{Context, input};
use crate::api::text::percent_encoded;
use crate::api::types::{CancelRequest, Done, List, OpenRequest, Outcome as Record, Session, SessionLogEntry};
use crate::cli::duration;
use crate::failure::{Failure, Outcome};
use crate::output::{Document, Table};

/// How long an outcome is waited for, unless the command line says otherwise.
const USUAL: Duration = Duration::from_secs(300);
/// What the command waits beyond the outcome's own time.
const GRACE: Duration = Duration::from_secs(2);

/// Open sessions of coordination protocols, and look at them
#[derive(Debug, Subcommand)]
pub enum Sub {
    /// Open a session and print its outcome
    #[command(before_help = "Examples:
  skep session open auction/sealed-bid --config lamp.json --members bidders.json
  skep session open vote/threshold --config vote.json --members board.json --name budget --detach")]
    Open(Open),
    /// List the sessions, also those that have ended and are kept
    #[command(before_help = "Example:\n  skep session ps")]
    Ps,
    /// Show how a session is, or how it ended
    #[command(before_help = "Example:\n  skep session inspect budget")]
    Inspect(Which),
    /// Wait for a session to end, and print its outcome
    #[command(before_help = "Example:\n  skep session outcome budget --timeout 1h")]
    Outcome(Which),
    /// Print what happened in a session, step by step
    #[command(before_help = "Examples:\n  skep session log budget\n  skep session log budget -o jsonl --from 10")]
    Log(Log),
    /// Call a session off; how it ends is its protocol's decision
    #[command(before_help = "Example:\n  skep session cancel budget --why 'no quorum today'")]
    Cancel(Cancel),
}

/// What is opened.
#[derive(Debug, clap::Args)]
pub struct Open {
    /// The protocol: its plugin's name in the manifest, or what it calls itself
    protocol: String,
    /// The config, as the protocol's schema says
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The members: a JSON list of {"id", "role", "weight"}, in the order that breaks ties
    #[arg(long, value_name = "FILE")]
    members: PathBuf,
    /// The session's name [default: one of its own, by the time]
    #[arg(long)]
    name: Option<String>,
    /// The only randomness [default: drawn by the host]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// When it ends at the latest [default: what the protocol says]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    deadline: Option<Duration>,
    /// Print its name and do not wait for its outcome
    #[arg(short, long)]
    detach: bool,
}

/// Which session.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Its name
    session: String,
}

/// Which part of a log.
#[derive(Debug, clap::Args)]
pub struct Log {
    /// The session
    session: String,
    /// The first entry
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    from: u64,
}

/// What is called off.
#[derive(Debug, clap::Args)]
pub struct Cancel {
    /// The session
    session: String,
    /// What its members and its log are told
    #[arg(long, default_value = "an operator says so")]
    why: String,
}

pub(super) async fn run(context: &Context, sub: Sub) -> Outcome {
    match sub {
        Sub::Open(args) => open(context, args).await,
        Sub::Ps => ps(context).await,
        Sub::Inspect(which) => inspect(context, &which.session).await,
        Sub::Outcome(which) => outcome(context, &which.session).await,
        Sub::Log(args) => log(context, &args).await,
        Sub::Cancel(args) => cancel(context, &args).await,
    }
}

fn path(session: &str, what: &str) -> String {
    format!("/v1/sessions/{}{what}", percent_encoded(session))
}

async fn open(context: &Context, args: Open) -> Outcome {
    let config = args.config.map(|file| input::json_file(context, file)).transpose()?;
    let session = SessionSpec {
        config: config.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
        members: members(input::json_file(context, args.members)?)?,
        seed: args.seed,
        deadline_ms: args.deadline.and_then(|length| u64::try_from(length.as_millis()).ok()),
    };
    let name = args.name.unwrap_or_else(|| own_name(&args.protocol));
    let request = OpenRequest { name: name.clone(), protocol: args.protocol, session };
    let opened: Done = context.with_host(async |mut host| host.post("/v1/sessions", &request).await).await?;
    if args.detach {
        let table = Table::of_pairs([("opened", opened.name.clone())]);
        return context.output.print(&Document::one("Done", &opened, opened.name.clone(), table));
    }
    outcome(context, &name).await
}

async fn outcome(context: &Context, name: &str) -> Outcome {
    let timeout = context.timeout.unwrap_or(USUAL);
    let patient = Context { timeout: Some(timeout + GRACE), ..context.clone() };
    let wait = path(name, &format!("/outcome?timeout_ms={}", timeout.as_millis()));
    let record: Result<Record, Failure> = patient.with_host(async |mut host| host.get(&wait).await).await;
    let record = record.map_err(|failure| match &*failure.code {
        "E_TIMEOUT" => failure.with_help(format!("it goes on: `skep session outcome {name}` waits for it again")),
        _ => failure,
    })?;
    context.output.print(&Document::one("Outcome", &record, name, outcome_table(&record.0)))
}

/// A list of members, or an object that has one.
fn members(value: Value) -> Outcome<Vec<Member>> {
    let list = match value {
        Value::Object(mut fields) if fields.len() == 1 => fields.remove("members").unwrap_or_default(),
        other => other,
    };
    let wrong = |error: serde_json::Error| {
        let help = "members are a JSON list: [{\"id\": \"a\", \"role\": \"\", \"weight\": 1}, ...]";
        Failure::usage(format!("--members: {error}")).with_help(help)
    };
    serde_json::from_value(list).map_err(wrong)
}

/// A name that no other session has: the protocol's last word, and the time.
fn own_name(protocol: &str) -> String {
    let word = protocol.rsplit('/').next().unwrap_or(protocol);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{word}-{:x}", now.as_nanos())
}

async fn ps(context: &Context) -> Outcome {
    let mut sessions: Vec<Session> = Vec::new();
    loop {
        let after = sessions.last().map(|last| format!("?after={}", percent_encoded(&last.name))).unwrap_or_default();
        let page = format!("/v1/sessions{after}");
        let found: List<Session> = context.with_host(async |mut host| host.get(&page).await).await?;
        if found.items.is_empty() {
            break;
        }
        sessions.extend(found.items);
    }
    let mut table = Table::new(&["session", "protocol", "members", "events", "status", "opened"]);
    for session in &sessions {
        table.row([
            session.name.clone(),
            session.protocol.clone(),
            session.members.len().to_string(),
            session.events.to_string(),
            status(session.outcome.as_ref()),
            session.opened.clone(),
        ]);
    }
    let names = sessions.iter().map(|session| session.name.clone()).collect();
    context.output.print(&Document::list("SessionList", &sessions, names, table))
}

fn status(outcome: Option<&Value>) -> String {
    let Some(outcome) = outcome else { return "running".to_owned() };
    format!("{}: {}", text(outcome, "end"), text(outcome, "code"))
}

async fn inspect(context: &Context, name: &str) -> Outcome {
    let at = path(name, "");
    let session: Session = context.with_host(async |mut host| host.get(&at).await).await?;
    let members: Vec<&str> = session.members.iter().map(|member| member.id.as_str()).collect();
    let mut pairs = vec![
        ("session", session.name.clone()),
        ("protocol", format!("{} {}", session.protocol, session.version)),
        ("config", session.config.to_string()),
        ("members", members.join(", ")),
        ("seed", session.seed.to_string()),
        ("deadline", format!("{} ms after it was opened", session.deadline_ms)),
        ("opened", session.opened.clone()),
        ("events", session.events.to_string()),
        ("status", status(session.outcome.as_ref())),
    ];
    match &session.outcome {
        Some(outcome) => pairs.extend(outcome_pairs(outcome)),
        None => pairs.push(("view", session.view.to_string())),
    }
    context.output.print(&Document::one("Session", &session, session.name.clone(), Table::of_pairs(pairs)))
}

async fn log(context: &Context, args: &Log) -> Outcome {
    let mut entries: Vec<SessionLogEntry> = Vec::new();
    loop {
        let from = entries.last().map_or(args.from, |last| last.0.seq + 1);
        let page = path(&args.session, &format!("/log?from={from}"));
        let found: List<SessionLogEntry> = context.with_host(async |mut host| host.get(&page).await).await?;
        if found.items.is_empty() {
            break;
        }
        entries.extend(found.items);
    }
    let mut table = Table::new(&["seq", "at ms", "event", "effects", "fuel", "hash"]);
    for SessionLogEntry(entry) in &entries {
        let effects: Vec<String> = entry.effects.iter().map(|effect| first_word(&serde_json::json!(effect))).collect();
        table.row([
            entry.seq.to_string(),
            entry.at_ms.to_string(),
            serde_json::json!(entry.event).to_string(),
            counted(&effects),
            entry.fuel.to_string(),
            entry.hash.clone(),
        ]);
    }
    let names = entries.iter().map(|entry| entry.0.seq.to_string()).collect();
    context.output.print(&Document::list("SessionLog", &entries, names, table))
}

/// Equal words that follow each other, once with their number.
fn counted(words: &[String]) -> String {
    let runs = words.chunk_by(|one, next| one == next);
    let shown = runs.filter_map(|run| {
        let word = run.first()?;
        Some(if run.len() > 1 { format!("{word} x{}", run.len()) } else { word.clone() })
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// The name of a variant.
fn first_word(value: &Value) -> String {
    match value {
        Value::Object(fields) => fields.keys().next().cloned().unwrap_or_default(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

async fn cancel(context: &Context, args: &Cancel) -> Outcome {
    let (at, request) = (path(&args.session, "/cancel"), CancelRequest { why: args.why.clone() });
    let done: Done = context.with_host(async |mut host| host.post(&at, &request).await).await?;
    let table = Table::of_pairs([("cancelled", done.name.clone())]);
    context.output.print(&Document::one("Done", &done, done.name.clone(), table))
}

pub(super) fn outcome_table(outcome: &Value) -> Table {
    let mut pairs = vec![("session", text(outcome, "session")), ("status", status(Some(outcome)))];
    pairs.extend(outcome_pairs(outcome));
    Table::of_pairs(pairs)
}

fn outcome_pairs(outcome: &Value) -> Vec<(&'static str, String)> {
    let list = |key: &str| {
        let names = outcome.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    vec![
        ("body", outcome.get("body").map(ToString::to_string).unwrap_or_default()),
        ("evidence", outcome.get("evidence").map(ToString::to_string).unwrap_or_default()),
        ("no answer", list("noAnswer")),
        ("invalid", list("invalid")),
        ("equivocated", list("equivocated")),
        ("late", list("late")),
        ("ended", format!("{} ms", outcome.get("endedMs").map(ToString::to_string).unwrap_or_default())),
    ]
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
