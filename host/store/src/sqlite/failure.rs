//! The rare parts of a message as JSON: the words of the format, apart from the types of the core, which may change.
//! Never a row.

use serde::{Deserialize, Serialize};
use skep_core::{AskFailure, ExitReason, MessageId, Rare, Refusal, SendError};

/// How an ask failed.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FailureRow {
    NotSent(SendRow),
    Refused(RefusalRow),
    Timeout,
    Down(ExitRow),
    DeadLetter,
    Cycle(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SendRow {
    Full,
    Absent,
    Denied(String),
    TooLarge(u32),
    Invalid(String),
    Limit(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RefusalRow {
    Invalid(String),
    UnknownKind(String),
    Denied(String),
    Unavailable(String),
    Failed(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ExitRow {
    Normal,
    Shutdown,
    ShutdownBecause(String),
    Killed,
    StartFailed(String),
    Error(String),
    TurnFailed(String),
    CrashLoop,
    StateUnreadable(String),
    Linked(Box<ExitRow>),
    NoAgent,
}

/// What is rare about a message; ids as 32 hexadecimal digits.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RareRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_of: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
}

impl From<&AskFailure> for FailureRow {
    fn from(failure: &AskFailure) -> Self {
        match failure {
            AskFailure::NotSent(error) => Self::NotSent(error.into()),
            AskFailure::Refused(refusal) => Self::Refused(refusal.into()),
            AskFailure::Timeout => Self::Timeout,
            AskFailure::Down(reason) => Self::Down(reason.into()),
            AskFailure::DeadLetter => Self::DeadLetter,
            AskFailure::Cycle(text) => Self::Cycle(text.clone()),
            // One that this format has no word for yet: its text is kept.
            other => Self::Refused(RefusalRow::Failed(other.to_string())),
        }
    }
}

impl From<FailureRow> for AskFailure {
    fn from(row: FailureRow) -> Self {
        match row {
            FailureRow::NotSent(row) => Self::NotSent(row.into()),
            FailureRow::Refused(row) => Self::Refused(row.into()),
            FailureRow::Timeout => Self::Timeout,
            FailureRow::Down(row) => Self::Down(row.into()),
            FailureRow::DeadLetter => Self::DeadLetter,
            FailureRow::Cycle(text) => Self::Cycle(text),
        }
    }
}

impl From<&SendError> for SendRow {
    fn from(error: &SendError) -> Self {
        match error {
            SendError::Full => Self::Full,
            SendError::Absent => Self::Absent,
            SendError::Denied(text) => Self::Denied(text.clone()),
            SendError::TooLarge(bytes_max) => Self::TooLarge(*bytes_max),
            SendError::Invalid(text) => Self::Invalid(text.clone()),
            SendError::Limit(text) => Self::Limit(text.clone()),
            other => Self::Invalid(other.to_string()),
        }
    }
}

impl From<SendRow> for SendError {
    fn from(row: SendRow) -> Self {
        match row {
            SendRow::Full => Self::Full,
            SendRow::Absent => Self::Absent,
            SendRow::Denied(text) => Self::Denied(text),
            SendRow::TooLarge(bytes_max) => Self::TooLarge(bytes_max),
            SendRow::Invalid(text) => Self::Invalid(text),
            SendRow::Limit(text) => Self::Limit(text),
        }
    }
}

impl From<&Refusal> for RefusalRow {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Invalid(text) => Self::Invalid(text.clone()),
            Refusal::UnknownKind(text) => Self::UnknownKind(text.clone()),
            Refusal::Denied(text) => Self::Denied(text.clone()),
            Refusal::Unavailable(text) => Self::Unavailable(text.clone()),
            Refusal::Failed(text) => Self::Failed(text.clone()),
        }
    }
}

impl From<RefusalRow> for Refusal {
    fn from(row: RefusalRow) -> Self {
        match row {
            RefusalRow::Invalid(text) => Self::Invalid(text),
            RefusalRow::UnknownKind(text) => Self::UnknownKind(text),
            RefusalRow::Denied(text) => Self::Denied(text),
            RefusalRow::Unavailable(text) => Self::Unavailable(text),
            RefusalRow::Failed(text) => Self::Failed(text),
        }
    }
}

impl From<&ExitReason> for ExitRow {
    fn from(reason: &ExitReason) -> Self {
        match reason {
            ExitReason::Normal => Self::Normal,
            ExitReason::Shutdown => Self::Shutdown,
            ExitReason::ShutdownBecause(text) => Self::ShutdownBecause(text.clone()),
            ExitReason::Killed => Self::Killed,
            ExitReason::StartFailed(text) => Self::StartFailed(text.clone()),
            ExitReason::Error(text) => Self::Error(text.clone()),
            ExitReason::TurnFailed(text) => Self::TurnFailed(text.clone()),
            ExitReason::CrashLoop => Self::CrashLoop,
            ExitReason::StateUnreadable(text) => Self::StateUnreadable(text.clone()),
            ExitReason::Linked(reason) => Self::Linked(Box::new(reason.as_ref().into())),
            ExitReason::NoAgent => Self::NoAgent,
            other => Self::Error(other.to_string()),
        }
    }
}

impl From<ExitRow> for ExitReason {
    fn from(row: ExitRow) -> Self {
        match row {
            ExitRow::Normal => Self::Normal,
            ExitRow::Shutdown => Self::Shutdown,
            ExitRow::ShutdownBecause(text) => Self::ShutdownBecause(text),
            ExitRow::Killed => Self::Killed,
            ExitRow::StartFailed(text) => Self::StartFailed(text),
            ExitRow::Error(text) => Self::Error(text),
            ExitRow::TurnFailed(text) => Self::TurnFailed(text),
            ExitRow::CrashLoop => Self::CrashLoop,
            ExitRow::StateUnreadable(text) => Self::StateUnreadable(text),
            ExitRow::Linked(row) => Self::Linked(Box::new((*row).into())),
            ExitRow::NoAgent => Self::NoAgent,
        }
    }
}

impl From<&Rare> for RareRow {
    fn from(rare: &Rare) -> Self {
        let hex = |id: Option<MessageId>| id.map(|id| id.to_string());
        Self {
            content_type: rare.content_type.clone(),
            headers: rare.headers.clone(),
            traceparent: rare.traceparent.clone(),
            retry_of: hex(rare.retry_of),
            client_id: hex(rare.client_id),
        }
    }
}

impl RareRow {
    /// None if an id is not one.
    pub(super) fn into_rare(self) -> Option<Rare> {
        let parse = |hex: Option<String>| hex.map(|hex| MessageId::parse(&hex).ok_or(())).transpose().ok();
        Some(Rare {
            content_type: self.content_type,
            headers: self.headers,
            traceparent: self.traceparent,
            retry_of: parse(self.retry_of)?,
            client_id: parse(self.client_id)?,
        })
    }
}
