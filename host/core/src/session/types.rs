//! The words that host and protocol share, as `wit/protocol/types.wit` has them. Only data: what follows from it is decided
//! beside.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::outcome::Outcome;

/// JSON text, in canonical form (RFC 8785) where the host has made it.
pub type Payload = String;

/// Who takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The agent's name.
    pub id: String,
    /// What it is in the protocol's terms; empty if that has no roles.
    #[serde(default)]
    pub role: String,
    /// What its voice weighs.
    #[serde(default = "one")]
    pub weight: u32,
    /// Words of what it can do.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

fn one() -> u32 {
    1
}

/// What a session is opened with. Never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Its name.
    pub session: String,
    /// Checked against the manifest's schema.
    pub config: Payload,
    /// In the order that breaks ties.
    pub members: Vec<Member>,
    /// The only randomness.
    pub seed: u64,
    /// When it ends at the latest, in milliseconds of session time.
    pub deadline_ms: u64,
    /// When its time began: nanoseconds since 1970. No protocol is told.
    #[serde(default)]
    pub opened_ns: u64,
}

/// Why a member is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DownReason {
    /// It failed.
    Crashed,
    /// It ended in order.
    Left,
    /// It cannot be reached.
    Unreachable,
    /// It was put out.
    Evicted,
}

/// An ask: the step that sent it, and its place among all effects of that step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId {
    /// The envelope.
    pub seq: u64,
    /// The effect.
    pub index: u32,
}

impl fmt::Display for AskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.seq, self.index)
    }
}

impl AskId {
    /// From its text.
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, index) = text.split_once('.')?;
        Some(Self { seq: seq.parse().ok()?, index: index.parse().ok()? })
    }
}

impl Serialize for AskId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AskId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text} is not SEQ.INDEX")))
    }
}

/// What a member says: authenticated by the host, and each only once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbound {
    /// The member's name.
    pub sender: String,
    /// The message's own id.
    pub msg_id: String,
    /// The ask that it answers; none: it speaks unasked.
    pub in_reply_to: Option<AskId>,
    /// What it says.
    pub body: Payload,
}

/// Why an ask will never be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closed {
    /// Not in time, or never in a form that could be read.
    Expired,
    /// The member refused it.
    Refused,
    /// The member is down.
    Down,
    /// It did not reach the member, or the member failed on it.
    Undeliverable,
    /// The protocol has called it off.
    Cancelled,
}

/// What the protocol is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// Once, first.
    Start,
    /// A member speaks.
    Message(Inbound),
    /// A timer is due.
    TimerFired(String),
    /// A member has ended.
    MemberDown(String, DownReason),
    /// An ask has ended without an answer.
    AskClosed(AskId, Closed),
    /// Whoever opened the session wants it to end.
    Cancel(String),
    /// The last step: it must end the session.
    Deadline,
}

impl Event {
    /// The stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Message(_) => "message",
            Self::TimerFired(_) => "timer-fired",
            Self::MemberDown(..) => "member-down",
            Self::AskClosed(..) => "ask-closed",
            Self::Cancel(_) => "cancel",
            Self::Deadline => "deadline",
        }
    }
}

/// An event at its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// From 0, without gaps.
    pub seq: u64,
    /// Milliseconds of session time; never goes back.
    pub at_ms: u64,
    /// What happens.
    pub event: Event,
}

/// What the protocol wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// A question to a member.
    Ask {
        /// The member's name.
        to: String,
        /// The question.
        body: Payload,
        /// The name of the schema that the answer must follow.
        schema: String,
        /// Session time up to which an answer counts; none: the deadline.
        answer_by_ms: Option<u64>,
    },
    /// A message to members that needs no answer.
    Broadcast {
        /// The members' names.
        to: Vec<String>,
        /// What they are told.
        body: Payload,
    },
    /// Sets a timer, or moves it.
    SetTimer {
        /// Its name.
        timer: String,
        /// Session time.
        at_ms: u64,
    },
    /// Removes a timer.
    CancelTimer(String),
    /// Calls an ask off.
    CancelAsk(AskId),
    /// For people who read the log; nothing follows from it.
    Note(String, Payload),
    /// Ends the session. Nothing comes after it.
    End(Outcome),
    /// What this host does not offer: sessions under sessions.
    Child(String),
}

impl Effect {
    /// What it carries, in bytes: bodies and names.
    pub(super) fn payload_bytes(&self) -> usize {
        match self {
            Self::Ask { to, body, schema, .. } => to.len() + body.len() + schema.len(),
            Self::Broadcast { to, body } => to.iter().map(|to| to.len() + body.len()).sum(),
            Self::SetTimer { timer, .. } | Self::CancelTimer(timer) => timer.len(),
            Self::CancelAsk(_) => 0,
            Self::Note(name, body) => name.len() + body.len(),
            Self::End(outcome) => outcome.body.len(),
            Self::Child(key) => key.len(),
        }
    }
}

/// What the protocol says when it cannot take a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// The config is not one it can work with.
    #[error("the protocol refuses its config: {0}")]
    BadConfig(String),
    /// The state is not one of its own.
    #[error("the protocol cannot read its state: {0}")]
    BadState(String),
    /// A defect.
    #[error("the protocol failed: {0}")]
    Bug(String),
}
