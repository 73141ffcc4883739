//! Messages: what travels between agents, and the classes of traffic. Never how they travel.

use std::sync::Arc;

use bytes::Bytes;

use crate::exit::ExitReason;
use crate::id::{AgentId, MessageId, Seq};
use crate::name::Name;

/// The most hops that a message may have made since it came from outside: a storm ends here.
pub const HOPS_MAX: u32 = 1_000_000;

/// A class of traffic with its own lane, in order of priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Channel {
    /// Commands that must get through.
    Control = 0,
    /// Coordination protocols.
    Coordination = 1,
    /// The ordinary one.
    Events = 2,
    /// Bulk.
    Data = 3,
    /// Best effort.
    Telemetry = 4,
}

impl Channel {
    /// All of them, first the most urgent.
    pub const ALL: [Self; 5] = [Self::Control, Self::Coordination, Self::Events, Self::Data, Self::Telemetry];

    /// The name that manifests and people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Coordination => "coordination",
            Self::Events => "events",
            Self::Data => "data",
            Self::Telemetry => "telemetry",
        }
    }

    /// From its name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == text)
    }

    /// From its number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| *channel as u8 == number)
    }
}

/// What a message is, beside its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// Needs no answer.
    Tell,
    /// The sender waits for a reply until the deadline (nanoseconds since 1970).
    Ask {
        /// When the wait ends.
        deadline_ns: u64,
        /// The sender is blocked in a `call`.
        blocking: bool,
    },
    /// The end of an ask.
    Answer {
        /// The ask that it ends.
        ask: MessageId,
        /// None: the body is the reply.
        failure: Option<Box<AskFailure>>,
    },
    /// A timer of the agent itself; the kind is its name.
    Timer {
        /// Ticks that were due and are left out.
        missed: u32,
    },
    /// An agent that was monitored or linked has ended: the sender.
    Down,
    /// Came through a subscription.
    Published {
        /// The topic.
        topic: Arc<str>,
    },
}

/// What is rare about a message: absent for most.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rare {
    /// The media type of the body.
    pub content_type: Option<String>,
    /// As the sender gave them.
    pub headers: Vec<(String, String)>,
    /// W3C `traceparent`.
    pub traceparent: Option<String>,
    /// The dead letter that this repeats.
    pub retry_of: Option<MessageId>,
    /// The client's own id of a message from outside, remembered for the window.
    pub client_id: Option<MessageId>,
}

/// One message on its way to one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Unique; the same at every redelivery.
    pub id: MessageId,
    /// Who sent it.
    pub sender: AgentId,
    /// What it is, in the receiver's terms.
    pub kind: Name,
    /// Its lane.
    pub channel: Channel,
    /// What it is, in the host's terms.
    pub class: Class,
    /// The turns that failed on this message alone.
    pub failed_turns: u32,
    /// Hops since it came from outside.
    pub hops: u32,
    /// When the host took it, nanoseconds since 1970.
    pub accepted_ns: u64,
    /// The row that holds it, if it is durable.
    pub row: Option<Seq>,
    /// The body.
    pub body: Bytes,
    /// What is rare.
    pub rare: Option<Box<Rare>>,
}

/// A message in a place of its own: what moves through mailboxes and turns is its address, not the message.
pub type BoxedMessage = Box<Message>;

impl Message {
    /// What it takes of a mailbox's room, in bytes: the body and what is kept around it.
    pub fn weight_bytes(&self) -> usize {
        let rare = self
            .rare
            .as_ref()
            .map_or(0, |rare| rare.headers.iter().map(|(name, value)| name.len() + value.len() + 48).sum());
        self.body.len() + rare + 128
    }

    /// Whether somebody waits for its answer.
    pub fn wants_reply(&self) -> bool {
        matches!(self.class, Class::Ask { .. })
    }
}

/// On whose behalf something is done, and what that belongs to: as all events of it say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The message.
    pub cause: MessageId,
    /// The ask, or the trace, that the message belongs to: of an answer its ask; of what carries a W3C trace the number of
    /// the trace; of a dead letter that is retried the dead letter; of any other message its own id.
    pub correlation: MessageId,
}

impl Origin {
    /// Of what belongs to nothing else: an ask, or the start of an agent.
    pub fn itself(cause: MessageId) -> Self {
        Self { cause, correlation: cause }
    }

    /// Of a message.
    pub fn of(message: &Message) -> Self {
        let rare = message.rare.as_ref();
        let carried = match &message.class {
            Class::Answer { ask, .. } => Some(*ask),
            Class::Ask { .. } => None,
            _ => rare.and_then(|rare| rare.traceparent.as_deref().and_then(trace_of).or(rare.retry_of)),
        };
        Self { cause: message.id, correlation: carried.unwrap_or(message.id) }
    }
}

/// The number of the trace in a `traceparent`: `00-TRACE-SPAN-FLAGS`.
fn trace_of(traceparent: &str) -> Option<MessageId> {
    let trace = traceparent.split('-').nth(1).filter(|trace| trace.len() == 32)?;
    u128::from_str_radix(trace, 16).ok().map(MessageId)
}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No room, or over the sender's rate.
    #[error("no room at the receiver")]
    Full,
    /// No such agent.
    #[error("no such agent")]
    Absent,
    /// Not granted.
    #[error("denied: {0}")]
    Denied(String),
    /// Body over the limit, in bytes.
    #[error("the body is larger than {0} bytes")]
    TooLarge(u32),
    /// Wrong in itself.
    #[error("invalid: {0}")]
    Invalid(String),
    /// A budget is used up.
    #[error("over the budget: {0}")]
    Limit(String),
}

/// What a guest says when it refuses a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not what the agent expects.
    #[error("invalid: {0}")]
    Invalid(String),
    /// A kind it does not know.
    #[error("unknown kind: {0}")]
    UnknownKind(String),
    /// Not for this asker.
    #[error("denied: {0}")]
    Denied(String),
    /// Not now.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Anything else.
    #[error("failed: {0}")]
    Failed(String),
}

impl Refusal {
    /// The stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::UnknownKind(_) => "unknown-kind",
            Self::Denied(_) => "denied",
            Self::Unavailable(_) => "unavailable",
            Self::Failed(_) => "failed",
        }
    }
}

/// Why an ask ended without a reply. Every ask ends exactly once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskFailure {
    /// It was not taken.
    #[error("not sent: {0}")]
    NotSent(SendError),
    /// The receiver refused it.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// No reply by the deadline.
    #[error("no reply by the deadline")]
    Timeout,
    /// The receiver ended.
    #[error("the receiver ended: {0}")]
    Down(ExitReason),
    /// The receiver failed on it too often.
    #[error("the receiver failed on it too often: it is a dead letter")]
    DeadLetter,
    /// Waiting would never end.
    #[error("a cycle of calls: {0}")]
    Cycle(String),
}

/// Why a message became a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadReason {
    /// The turn failed as often as allowed; the text is the last failure, made safe to show.
    Failed(String),
    /// The agent was stopped for good.
    Stopped,
    /// There was no such agent any more when it was delivered.
    Absent,
    /// It came from another host, and its receiver had no room for it for too long; or it goes to one, and the server on the
    /// way takes nothing as large.
    Full,
}

impl DeadReason {
    /// The stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Failed(_) => "failed",
            Self::Stopped => "stopped",
            Self::Absent => "absent",
            Self::Full => "full",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn correlation(class: Class, rare: Rare) -> u128 {
        let message = Message {
            id: MessageId(1),
            sender: AgentId::OUTSIDE,
            kind: Name::reply(),
            channel: Channel::Events,
            class,
            failed_turns: 0,
            hops: 0,
            accepted_ns: 0,
            row: None,
            body: Bytes::new(),
            rare: Some(Box::new(rare)),
        };
        let origin = Origin::of(&message);
        assert_eq!(origin.cause, message.id);
        origin.correlation.0
    }

    #[test]
    fn a_message_belongs_to_its_ask_or_to_the_trace_that_it_carries_or_to_itself() {
        let traceparent = Some("00-0000000000000000000000000000002a-00f067aa0ba902b7-01".to_owned());
        let traced = || Rare { traceparent: traceparent.clone(), retry_of: Some(MessageId(3)), ..Rare::default() };
        let again = || Rare { retry_of: Some(MessageId(3)), traceparent: Some("x".to_owned()), ..Rare::default() };
        assert_eq!(correlation(Class::Tell, Rare::default()), 1);
        assert_eq!(correlation(Class::Tell, traced()), 42);
        assert_eq!(correlation(Class::Tell, again()), 3);
        assert_eq!(correlation(Class::Ask { deadline_ns: 0, blocking: false }, traced()), 1);
        assert_eq!(correlation(Class::Answer { ask: MessageId(7), failure: None }, traced()), 7);
    }
}
