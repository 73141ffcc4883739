//! Why an agent ended, in the words of Erlang/OTP. Never a turn's failure: that is not an exit.

use std::fmt;

/// The reason of an exit. Texts are already safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitReason {
    /// It has done what it was for.
    Normal,
    /// It was told to.
    Shutdown,
    /// It was told to, with a term.
    ShutdownBecause(String),
    /// It did not stop in time, or was killed at once.
    Killed,
    /// `start` failed.
    StartFailed(String),
    /// The agent said that something is wrong.
    Error(String),
    /// An agent without durability failed a turn, and its memory is gone with its instance.
    TurnFailed(String),
    /// Too many distinct messages failed in too short a time.
    CrashLoop,
    /// Its state could not be read.
    StateUnreadable(String),
    /// A linked agent ended.
    Linked(Box<ExitReason>),
    /// There was no such agent when a monitor or link was made.
    NoAgent,
}

impl ExitReason {
    /// Whether OTP counts it as an ordinary end: a transient child is not restarted after it.
    pub fn is_ordinary(&self) -> bool {
        matches!(self, Self::Normal | Self::Shutdown | Self::ShutdownBecause(_))
    }

    /// The stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Shutdown | Self::ShutdownBecause(_) => "shutdown",
            Self::Killed => "killed",
            Self::StartFailed(_) => "start-failed",
            Self::Error(_) => "error",
            Self::TurnFailed(_) => "turn-failed",
            Self::CrashLoop => "crash-loop",
            Self::StateUnreadable(_) => "state-unreadable",
            Self::Linked(_) => "linked",
            Self::NoAgent => "no-agent",
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::ShutdownBecause(text)
            | Self::StartFailed(text)
            | Self::Error(text)
            | Self::TurnFailed(text)
            | Self::StateUnreadable(text) => write!(f, ": {text}"),
            Self::Linked(reason) => write!(f, ": {reason}"),
            _ => Ok(()),
        }
    }
}
