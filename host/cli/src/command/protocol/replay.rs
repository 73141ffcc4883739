//! `skep protocol replay`: what a host says of a session, held against the protocol's component. Without that host.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;
use skep_core::session::{Info, Member, Outcome as Ended};
use skep_runtime::{LogEntry, Protocol, SessionSpec, outcome_to_json};

use super::{Context, Which, input};
use crate::failure::{Failure, Outcome};
use crate::output::{Document, Table};

/// What is played again.
#[derive(Debug, clap::Args)]
pub struct Replay {
    #[command(flatten)]
    which: Which,
    /// Another version of the protocol that took steps of the session; may be given again
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// What `skep session inspect NAME -o json` prints
    #[arg(long, value_name = "FILE")]
    session: PathBuf,
    /// What `skep session log NAME -o json` prints
    #[arg(long, value_name = "FILE")]
    log: PathBuf,
}

/// Of a `Session`, what a replay needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    name: String,
    config: Value,
    members: Vec<Member>,
    seed: u64,
    deadline_ms: u64,
    outcome: Option<Value>,
}

/// A `SessionLog`.
#[derive(Deserialize)]
struct Log {
    items: Vec<LogEntry>,
}

pub(super) fn run(context: &Context, args: Replay) -> Outcome {
    let session: Session = document(context, "--session", args.session, "skep session inspect NAME -o json")?;
    let Log { items: log } = document(context, "--log", args.log, "skep session log NAME -o json")?;
    let (which, with) = (args.which, args.with);
    let (name, said) = (session.name.clone(), session.outcome.clone());
    let ended = context.blocking(move || {
        let (_, protocol) = super::open(&which)?;
        let others = with.iter().map(|file| Protocol::open(file, None)).collect::<Result<Vec<_>, _>>()?;
        replay(&protocol, &others, session, &log)
    })?;
    let again = outcome_to_json(&ended);
    if let Some(said) = said
        && !same(&said, &again)
    {
        let failure = Failure::new("E_REPLAY_DIFFERS", format!("the host says {said}, and the log comes to {again}"));
        return Err(failure);
    }
    let text = |key: &str| again.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let body = again.get("body").map(ToString::to_string).unwrap_or_default();
    let table =
        Table::of_pairs([("session", name.clone()), ("replayed", text("end")), ("code", text("code")), ("body", body)]);
    context.output.print(&Document::one("Replayed", &again, name, table))
}

fn replay(protocol: &Protocol, others: &[Protocol], session: Session, log: &[LogEntry]) -> Outcome<Ended> {
    let Session { name, config, members, seed, deadline_ms, .. } = session;
    let spec = SessionSpec { config, members, seed: Some(seed), deadline_ms: Some(deadline_ms) };
    let info: Info = protocol.info(&name, &spec)?;
    let others: Vec<&Protocol> = others.iter().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| Failure::io("the runtime of the replay", &error))?;
    let replayed = runtime.block_on(protocol.replay(&others, &info, log));
    replayed.map_err(|differs| Failure::new("E_REPLAY_DIFFERS", skep_core::name::shown(&differs.to_string(), 512)))
}

/// The record says more: what only the host knows.
fn same(record: &Value, again: &Value) -> bool {
    let fields = again.as_object();
    fields.is_some_and(|fields| fields.iter().all(|(key, value)| record.get(key) == Some(value)))
}

fn document<T: serde::de::DeserializeOwned>(
    context: &Context,
    option: &str,
    file: PathBuf,
    made_by: &str,
) -> Outcome<T> {
    let value = input::json_file(context, file)?;
    serde_json::from_value(value).map_err(|error| {
        Failure::usage(format!("{option}: {error}")).with_help(format!("it is what `{made_by}` prints"))
    })
}
