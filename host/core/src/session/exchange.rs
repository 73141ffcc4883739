//! What passes between a session and who drives it: what happens to it, and what is to be done. Only data.

use serde::{Deserialize, Serialize};

use super::outcome::Record;
use super::types::{AskId, Closed, DownReason, Payload};

/// What happens to a session, seen from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// A member answers an ask.
    Answer {
        /// Which.
        ask: AskId,
        /// Who answers.
        member: String,
        /// The message's own id.
        msg_id: String,
        /// The answer; or why it is none that the ask's schema allows.
        body: Result<Payload, String>,
    },
    /// An ask has ended without an answer.
    Unanswered {
        /// Which.
        ask: AskId,
        /// How.
        how: Closed,
    },
    /// A member speaks unasked.
    Told {
        /// The member's name.
        member: String,
        /// The message's own id.
        msg_id: String,
        /// What it says.
        body: Payload,
    },
    /// A member has ended.
    Down {
        /// The member's name.
        member: String,
        /// Why.
        reason: DownReason,
    },
    /// Whoever opened the session wants it to end.
    Cancel(String),
    /// Nothing but time.
    Time,
}

/// What the host is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Ask a member.
    Ask {
        /// The ask.
        ask: AskId,
        /// The member's name.
        to: String,
        /// The name of the answer's schema: what the ask is called.
        schema: String,
        /// The question.
        body: Payload,
    },
    /// Ask a member once more; the question is in the log.
    AskAgain {
        /// The ask.
        ask: AskId,
        /// The member's name.
        to: String,
        /// The name of the answer's schema.
        schema: String,
        /// Why the last answer was not understood.
        why: String,
    },
    /// Tell a member.
    Tell {
        /// The member's name.
        to: String,
        /// What.
        body: Payload,
    },
    /// Tell a member that nobody waits for its answer.
    Notice {
        /// The ask.
        ask: AskId,
        /// The member's name.
        to: String,
        /// Why.
        notice: Notice,
    },
    /// It is over.
    End(Box<Record>),
}

/// What a member is told of an ask that is over without its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Its time is up, or its answers could not be read.
    Expired,
    /// The protocol has called it off, or has ended.
    Cancelled,
    /// Its answer came after the ask had ended, and changes nothing (D6).
    Late,
}

impl Notice {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Late => "late",
        }
    }
}
