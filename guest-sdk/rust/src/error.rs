//! What can go wrong, sorted by what an author can do about it.

use std::fmt;

use crate::host::types as wit;

/// What a handler returns.
pub type Result<T, E = Refusal> = std::result::Result<T, E>;

/// Why a message is refused. What its handler wrote and sent is taken back, the asker is told, the turn goes on.
///
/// Every error that can be shown becomes [`Refusal::Failed`] by `?`, a text too: `Err("no such file")?`. For that to
/// work a refusal itself has no `Display`: use [`Refusal::text`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The body is not what the agent expects: fix it before sending again.
    Invalid(String),
    /// The agent does not know this kind of message.
    UnknownKind(String),
    /// The asker may not have this.
    Denied(String),
    /// Not now: the asker may try again later.
    Unavailable(String),
    /// Anything else.
    Failed(String),
}

impl Refusal {
    /// The explanation.
    pub fn text(&self) -> &str {
        match self {
            Self::Invalid(text)
            | Self::UnknownKind(text)
            | Self::Denied(text)
            | Self::Unavailable(text)
            | Self::Failed(text) => text,
        }
    }

    /// Which it is, in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::UnknownKind(_) => "unknown-kind",
            Self::Denied(_) => "denied",
            Self::Unavailable(_) => "unavailable",
            Self::Failed(_) => "failed",
        }
    }

    pub(crate) fn lower(self) -> wit::Refusal {
        match self {
            Self::Invalid(text) => wit::Refusal::Invalid(text),
            Self::UnknownKind(text) => wit::Refusal::UnknownKind(text),
            Self::Denied(text) => wit::Refusal::Denied(text),
            Self::Unavailable(text) => wit::Refusal::Unavailable(text),
            Self::Failed(text) => wit::Refusal::Failed(text),
        }
    }

    pub(crate) fn lift(refusal: wit::Refusal) -> Self {
        match refusal {
            wit::Refusal::Invalid(text) => Self::Invalid(text),
            wit::Refusal::UnknownKind(text) => Self::UnknownKind(text),
            wit::Refusal::Denied(text) => Self::Denied(text),
            wit::Refusal::Unavailable(text) => Self::Unavailable(text),
            wit::Refusal::Failed(text) => Self::Failed(text),
        }
    }
}

impl<E: fmt::Display> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The receiver has no room. Try again later.
    Full,
    /// No such agent, or it has stopped for good.
    Absent,
    /// The manifest does not grant it. The text names the grant.
    Denied(String),
    /// The body is over the limit, in bytes.
    TooLarge(u32),
    /// The call is wrong in itself.
    Invalid(String),
    /// A budget of this agent is used up, or it is over its rate. The text names it and the key that raises it.
    Limit(String),
}

impl SendError {
    /// Which it is, in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Absent => "absent",
            Self::Denied(_) => "denied",
            Self::TooLarge(_) => "too-large",
            Self::Invalid(_) => "invalid",
            Self::Limit(_) => "limit",
        }
    }

    pub(crate) fn lift(error: wit::SendError) -> Self {
        match error {
            wit::SendError::Full => Self::Full,
            wit::SendError::Absent => Self::Absent,
            wit::SendError::Denied(text) => Self::Denied(text),
            wit::SendError::TooLarge(bytes_max) => Self::TooLarge(bytes_max),
            wit::SendError::Invalid(text) => Self::Invalid(text),
            wit::SendError::Limit(text) => Self::Limit(text),
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the receiver has no room"),
            Self::Absent => f.write_str("there is no such agent"),
            Self::Denied(text) => write!(f, "denied: {text}"),
            Self::TooLarge(bytes_max) => write!(f, "the body is over the limit of {bytes_max} bytes"),
            Self::Invalid(text) => write!(f, "invalid: {text}"),
            Self::Limit(text) => write!(f, "over the limit: {text}"),
        }
    }
}

impl std::error::Error for SendError {}

/// Why an ask or a call ended without a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskError {
    /// It was not taken at all.
    NotSent(SendError),
    /// The receiver refused it.
    Refused(Refusal),
    /// No reply by the deadline. Whether it was handled is unknown.
    Timeout,
    /// The receiver has ended, with this reason.
    Down(String),
    /// The receiver failed on it too often; it is a dead letter.
    DeadLetter,
    /// Waiting would never end: the receiver waits, directly or not, for this agent.
    Cycle(String),
    /// There is a reply, but it is not what was expected.
    BadReply(String),
}

impl AskError {
    /// Which it is, in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotSent(_) => "not-sent",
            Self::Refused(_) => "refused",
            Self::Timeout => "timeout",
            Self::Down(_) => "down",
            Self::DeadLetter => "dead-letter",
            Self::Cycle(_) => "cycle",
            Self::BadReply(_) => "bad-reply",
        }
    }

    pub(crate) fn lift(error: wit::AskError) -> Self {
        match error {
            wit::AskError::NotSent(error) => Self::NotSent(SendError::lift(error)),
            wit::AskError::Refused(refusal) => Self::Refused(Refusal::lift(refusal)),
            wit::AskError::Timeout => Self::Timeout,
            wit::AskError::Down(reason) => Self::Down(reason),
            wit::AskError::DeadLetter => Self::DeadLetter,
            wit::AskError::Cycle(text) => Self::Cycle(text),
        }
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(error) => write!(f, "not sent: {error}"),
            Self::Refused(refusal) => write!(f, "refused as {}: {}", refusal.word(), refusal.text()),
            Self::Timeout => f.write_str("no reply by the deadline"),
            Self::Down(reason) => write!(f, "the receiver has ended: {reason}"),
            Self::DeadLetter => f.write_str("the receiver failed on it too often"),
            Self::Cycle(text) => write!(f, "a cycle of calls: {text}"),
            Self::BadReply(text) => write!(f, "the reply is not what was expected: {text}"),
        }
    }
}

impl std::error::Error for AskError {}

/// Why the state could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// A key is 1 to 512 bytes, a value has a limit. The text says which and how much.
    TooLarge(String),
    /// The agent's budget of stored bytes is used up; the text has the number and the key that raises it.
    Quota(String),
    /// Keys that start with `skep.` belong to the SDK.
    Reserved(String),
    /// What is stored, or is to be stored, is not of this type.
    Mismatch(String),
}

impl StateError {
    pub(crate) fn lift(error: crate::host::state::StateError) -> Self {
        match error {
            crate::host::state::StateError::TooLarge(text) => Self::TooLarge(text),
            crate::host::state::StateError::Quota(text) => Self::Quota(text),
        }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(text) => write!(f, "too large: {text}"),
            Self::Quota(text) => write!(f, "over the quota: {text}"),
            Self::Reserved(key) => write!(f, "the key {key:?} is reserved: keys must not start with \"skep.\""),
            Self::Mismatch(text) => write!(f, "not of this type: {text}"),
        }
    }
}

impl std::error::Error for StateError {}
