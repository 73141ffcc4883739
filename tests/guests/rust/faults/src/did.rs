//! What an order came to, as JSON that a test can compare.

use skep_sdk::prelude::*;
use skep_sdk::serde::Serialize;
use skep_sdk::serde_json::{self, Value};

use crate::orders::Did;

impl Did {
    pub(crate) fn sent<T: Serialize>(result: Result<T, SendError>) -> Self {
        match result {
            Ok(value) => Self::ok(value),
            Err(error) => Self::error(error.word(), &error),
        }
    }

    pub(crate) fn stored<T: Serialize>(result: Result<T, StateError>) -> Self {
        match result {
            Ok(value) => Self::ok(value),
            Err(error) => Self::error("state", &error),
        }
    }

    /// The reply's bytes as JSON; a reply that is none as `{"bytes": how many}`.
    pub(crate) fn answered(result: Result<Vec<u8>, AskError>) -> Self {
        match result {
            Ok(bytes) => Self::Ok { ok: read(&bytes) },
            Err(AskError::NotSent(error)) => Self::error(error.word(), &error),
            Err(AskError::Refused(refusal)) => {
                Self::Error { error: refusal.word().into(), text: refusal.text().into() }
            }
            Err(error) => Self::error(error.word(), &error),
        }
    }

    fn ok<T: Serialize>(value: T) -> Self {
        Self::Ok { ok: serde_json::to_value(value).unwrap_or_default() }
    }

    fn error(word: &str, error: &dyn std::fmt::Display) -> Self {
        Self::Error { error: word.to_owned(), text: error.to_string() }
    }
}

pub(crate) fn read(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(bytes).unwrap_or_else(|_| serde_json::json!({ "bytes": bytes.len() }))
}

pub(crate) fn refusal(how: &str, text: String) -> Refusal {
    match how {
        "invalid" => Refusal::Invalid(text),
        "unknown-kind" => Refusal::UnknownKind(text),
        "denied" => Refusal::Denied(text),
        "unavailable" => Refusal::Unavailable(text),
        _ => Refusal::Failed(text),
    }
}

pub(crate) fn channel(name: &str) -> Result<Channel> {
    Ok(match name {
        "control" => Channel::Control,
        "coordination" => Channel::Coordination,
        "events" => Channel::Events,
        "data" => Channel::Data,
        "telemetry" => Channel::Telemetry,
        other => Err(Refusal::Invalid(format!("{other:?} is no channel")))?,
    })
}

pub(crate) fn restart(name: &str) -> Result<Restart> {
    Ok(match name {
        "permanent" => Restart::Permanent,
        "transient" => Restart::Transient,
        "temporary" => Restart::Temporary,
        other => Err(Refusal::Invalid(format!("{other:?} is no way to restart")))?,
    })
}

pub(crate) fn durability(name: &str) -> Result<Durability> {
    Ok(match name {
        "none" => Durability::None,
        "process" => Durability::Process,
        "full" => Durability::Full,
        other => Err(Refusal::Invalid(format!("{other:?} is no durability")))?,
    })
}
