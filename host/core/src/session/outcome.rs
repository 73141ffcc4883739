//! How a session ended: what the protocol says, and what the host knows beside.

use serde::{Deserialize, Serialize};

use super::types::Payload;

/// The sort of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndKind {
    /// With a result.
    Decided,
    /// In order, without one.
    NoDecision,
    /// Called off.
    Cancelled,
    /// Not in order.
    Failed,
}

impl EndKind {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::NoDecision => "no-decision",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// The end as the protocol says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The sort.
    pub kind: EndKind,
    /// A stable word: `sold`.
    pub code: String,
    /// As the manifest's outcome schema says.
    pub body: Payload,
    /// The envelopes that justify it.
    pub evidence: Vec<u64>,
}

impl Outcome {
    /// An end that the host has to declare: the protocol did not.
    pub fn failed(code: &str, why: &str) -> Self {
        let body = format!("{{\"reason\":{}}}", super::canonical::quoted(why));
        Self { kind: EndKind::Failed, code: code.to_owned(), body, evidence: Vec::new() }
    }
}

/// The one record of how a session ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The session's name.
    pub session: String,
    /// The end.
    pub outcome: Outcome,
    /// All members, in their order.
    pub participants: Vec<String>,
    /// Those who were asked and left an ask without an answer.
    pub no_answer: Vec<String>,
    /// Those who gave an answer that could not be read.
    pub invalid: Vec<String>,
    /// Those who gave two different answers to one ask; the first stands.
    pub equivocated: Vec<String>,
    /// Those who answered after the ask had ended.
    pub late: Vec<String>,
    /// When it was opened: nanoseconds since 1970.
    pub opened_ns: u64,
    /// Session time of the end, in milliseconds.
    pub ended_ms: u64,
    /// The envelopes that there were.
    pub events: u64,
}
