//! What a session keeps in its agent's state, key by key; `docs/formats.md` lists it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use skep_core::session::{AskId, Books, EndKind, Info, Input, Outcome, Record};
use skep_core::{Bytes, MessageId};

pub use super::course::LogEntry;

/// What it was opened with.
pub(crate) const OPENED: &[u8] = b"opened";
/// How far it is.
pub(crate) const BOOKS: &[u8] = b"books";
/// The protocol's own state.
pub(crate) const STATE: &[u8] = b"state";
/// How it ended.
pub(crate) const OUTCOME: &[u8] = b"outcome";
/// What the keys of the log begin with.
pub(crate) const LOG: &[u8] = b"log/";

/// The key of an entry of the log: in their order.
pub(crate) fn log_key(seq: u64) -> Bytes {
    let mut key = LOG.to_vec();
    key.extend_from_slice(format!("{seq:020}").as_bytes());
    key.into()
}

/// Written once, and again by a swap.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OpenedRecord {
    pub(crate) info: Info,
    /// The protocol's name and version.
    pub(crate) protocol: String,
    pub(crate) version: String,
    /// The form of the protocol's state.
    pub(crate) state_version: u32,
    /// The digest of its component.
    pub(crate) component: String,
}

/// Written with every turn.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct BooksRecord {
    pub(crate) books: Books,
    /// Of the state that is kept beside.
    pub(crate) state_hash: String,
    /// Asks of agents that are under way, by the ids of their messages.
    pub(crate) sent: BTreeMap<String, AskId>,
    /// Those who wait for the outcome: the ids of their asks.
    pub(crate) waiting: Vec<String>,
    /// The agent that has opened it has its outcome; no agent has.
    pub(crate) opener_told: bool,
    /// The ask for the outcome of the agent that has opened it.
    pub(crate) opener_ask: Option<String>,
    /// Ends of members that wait for what was accepted before them.
    pub(crate) held: Vec<(u64, Input)>,
}

impl BooksRecord {
    pub(crate) fn sent(&self) -> impl Iterator<Item = (MessageId, AskId)> {
        self.sent.iter().filter_map(|(id, ask)| Some((MessageId::parse(id)?, *ask)))
    }

    pub(crate) fn waiting(&self) -> impl Iterator<Item = MessageId> {
        self.waiting.iter().filter_map(|id| MessageId::parse(id))
    }
}

/// A session that has ended. Written once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EndedRecord {
    pub(crate) opened: OpenedRecord,
    pub(crate) record: Record,
    /// Session time at which the host came to it.
    pub(crate) over_ms: u64,
}

impl EndedRecord {
    pub(crate) fn view(&self) -> SessionView {
        self.opened.view(self.record.events, Some(&self.record), Value::Null)
    }
}

impl OpenedRecord {
    pub(crate) fn view(&self, events: u64, record: Option<&Record>, view: Value) -> SessionView {
        SessionView {
            name: self.info.session.clone(),
            protocol: self.protocol.clone(),
            version: self.version.clone(),
            info: self.info.clone(),
            opened_ns: self.info.opened_ns,
            events,
            record: record.cloned(),
            view,
        }
    }
}

/// How a session ended, as it is told to agents and people.
pub fn record_to_json(record: &Record) -> Value {
    let parts = [
        json!({"session": record.session}),
        outcome_to_json(&record.outcome),
        json!({
            "participants": record.participants,
            "noAnswer": record.no_answer,
            "invalid": record.invalid,
            "equivocated": record.equivocated,
            "late": record.late,
            "openedMs": record.opened_ns / 1_000_000,
            "endedMs": record.ended_ms,
            "events": record.events,
        }),
    ];
    let fields =
        parts.into_iter().filter_map(|part| if let Value::Object(fields) = part { Some(fields) } else { None });
    fields.flatten().collect()
}

/// The part of it that follows from the log alone.
pub fn outcome_to_json(outcome: &Outcome) -> Value {
    json!({
        "end": outcome.kind,
        "code": outcome.code,
        "body": serde_json::from_str::<Value>(&outcome.body).unwrap_or_default(),
        "evidence": outcome.evidence,
    })
}

/// From there.
pub(crate) fn record_from_json(bytes: &Bytes) -> Result<Record, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Told {
        session: String,
        end: EndKind,
        code: String,
        body: Value,
        evidence: Vec<u64>,
        participants: Vec<String>,
        no_answer: Vec<String>,
        invalid: Vec<String>,
        equivocated: Vec<String>,
        late: Vec<String>,
        opened_ms: u64,
        ended_ms: u64,
        events: u64,
    }
    let told: Told = from_bytes("outcome", bytes)?;
    let body = super::rules::canonical(&told.body)?;
    Ok(Record {
        session: told.session,
        outcome: Outcome { kind: told.end, code: told.code, body, evidence: told.evidence },
        participants: told.participants,
        no_answer: told.no_answer,
        invalid: told.invalid,
        equivocated: told.equivocated,
        late: told.late,
        opened_ns: told.opened_ms.saturating_mul(1_000_000),
        ended_ms: told.ended_ms,
        events: told.events,
    })
}

/// A session as an operator sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionView {
    /// Its name.
    pub name: String,
    /// The protocol's name and version.
    pub protocol: String,
    /// See there.
    pub version: String,
    /// What it was opened with.
    pub info: Info,
    /// When it was opened: nanoseconds since 1970.
    pub opened_ns: u64,
    /// The envelopes so far.
    pub events: u64,
    /// How it ended, if it has.
    pub record: Option<Record>,
    /// What of the protocol's state observers may see.
    pub view: Value,
}

pub(crate) fn to_bytes(value: &impl Serialize) -> Result<Bytes, String> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| error.to_string())
}

pub(crate) fn from_bytes<T: serde::de::DeserializeOwned>(what: &str, bytes: &Bytes) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("the session's {what} cannot be read: {error}"))
}
