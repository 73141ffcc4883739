//! The rare parts of a message as JSON, as journals keep them and hosts send them to each other: the words of the formats,
//! apart from the types of this crate, which may change. Never a whole message.

use serde::{Deserialize, Serialize};

use crate::exit::ExitReason;
use crate::id::MessageId;
use crate::message::{AskFailure, Rare, Refusal, SendError};

/// How an ask failed.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub struct FailureForm(Failure);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Failure {
    NotSent(SendForm),
    Refused(RefusalForm),
    Timeout,
    Down(ExitForm),
    DeadLetter,
    Cycle(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SendForm {
    Full,
    Absent,
    Denied(String),
    TooLarge(u32),
    Invalid(String),
    Limit(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RefusalForm {
    Invalid(String),
    UnknownKind(String),
    Denied(String),
    Unavailable(String),
    Failed(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ExitForm {
    Normal,
    Shutdown,
    ShutdownBecause(String),
    Killed,
    StartFailed(String),
    Error(String),
    TurnFailed(String),
    CrashLoop,
    StateUnreadable(String),
    Linked(Box<ExitForm>),
    NoAgent,
}

/// What is rare about a message; ids as 32 hexadecimal digits.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RareForm {
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

impl From<&AskFailure> for FailureForm {
    fn from(failure: &AskFailure) -> Self {
        Self(match failure {
            AskFailure::NotSent(error) => Failure::NotSent(error.into()),
            AskFailure::Refused(refusal) => Failure::Refused(refusal.into()),
            AskFailure::Timeout => Failure::Timeout,
            AskFailure::Down(reason) => Failure::Down(reason.into()),
            AskFailure::DeadLetter => Failure::DeadLetter,
            AskFailure::Cycle(text) => Failure::Cycle(text.clone()),
        })
    }
}

impl From<FailureForm> for AskFailure {
    fn from(form: FailureForm) -> Self {
        match form.0 {
            Failure::NotSent(form) => Self::NotSent(form.into()),
            Failure::Refused(form) => Self::Refused(form.into()),
            Failure::Timeout => Self::Timeout,
            Failure::Down(form) => Self::Down(form.into()),
            Failure::DeadLetter => Self::DeadLetter,
            Failure::Cycle(text) => Self::Cycle(text),
        }
    }
}

impl From<&SendError> for SendForm {
    fn from(error: &SendError) -> Self {
        match error {
            SendError::Full => Self::Full,
            SendError::Absent => Self::Absent,
            SendError::Denied(text) => Self::Denied(text.clone()),
            SendError::TooLarge(bytes_max) => Self::TooLarge(*bytes_max),
            SendError::Invalid(text) => Self::Invalid(text.clone()),
            SendError::Limit(text) => Self::Limit(text.clone()),
        }
    }
}

impl From<SendForm> for SendError {
    fn from(form: SendForm) -> Self {
        match form {
            SendForm::Full => Self::Full,
            SendForm::Absent => Self::Absent,
            SendForm::Denied(text) => Self::Denied(text),
            SendForm::TooLarge(bytes_max) => Self::TooLarge(bytes_max),
            SendForm::Invalid(text) => Self::Invalid(text),
            SendForm::Limit(text) => Self::Limit(text),
        }
    }
}

impl From<&Refusal> for RefusalForm {
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

impl From<RefusalForm> for Refusal {
    fn from(form: RefusalForm) -> Self {
        match form {
            RefusalForm::Invalid(text) => Self::Invalid(text),
            RefusalForm::UnknownKind(text) => Self::UnknownKind(text),
            RefusalForm::Denied(text) => Self::Denied(text),
            RefusalForm::Unavailable(text) => Self::Unavailable(text),
            RefusalForm::Failed(text) => Self::Failed(text),
        }
    }
}

impl From<&ExitReason> for ExitForm {
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
        }
    }
}

impl From<ExitForm> for ExitReason {
    fn from(form: ExitForm) -> Self {
        match form {
            ExitForm::Normal => Self::Normal,
            ExitForm::Shutdown => Self::Shutdown,
            ExitForm::ShutdownBecause(text) => Self::ShutdownBecause(text),
            ExitForm::Killed => Self::Killed,
            ExitForm::StartFailed(text) => Self::StartFailed(text),
            ExitForm::Error(text) => Self::Error(text),
            ExitForm::TurnFailed(text) => Self::TurnFailed(text),
            ExitForm::CrashLoop => Self::CrashLoop,
            ExitForm::StateUnreadable(text) => Self::StateUnreadable(text),
            ExitForm::Linked(form) => Self::Linked(Box::new((*form).into())),
            ExitForm::NoAgent => Self::NoAgent,
        }
    }
}

impl From<&Rare> for RareForm {
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

impl RareForm {
    /// None if an id is not one.
    pub fn into_rare(self) -> Option<Rare> {
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
