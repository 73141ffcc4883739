//! Between messages and what happens to a session: how an answer, an end or a word of a member reads, and what an ask of a
//! session looks like on its way.

use skep_core::session::{AskId, Closed, DownReason, Input};
use skep_core::{AskFailure, Bytes, ExitReason, Message};

use super::rules::{Rules, canonical};

/// The header of an ask that names it: `SEQ.INDEX`. The same when it is asked again.
pub(crate) const ASK: &str = "skep-ask";
/// The header of an ask that is asked again: why the answer before was not understood.
pub(crate) const NOT_UNDERSTOOD: &str = "skep-not-understood";
/// The kind of a session's message that needs no answer.
pub(crate) const TOLD: &str = "session.told";
/// The kind of the message that nobody waits for a member's answer.
pub(crate) const CLOSED: &str = "session.closed";
/// The kind of the ask that waits for the outcome.
pub(crate) const OUTCOME: &str = "outcome";
/// The kind of the ask that calls a session off.
pub(crate) const CANCEL: &str = "cancel";
/// The kind of the ask that ends a session, whatever its protocol makes of being called off.
pub(crate) const STOP: &str = "stop";
/// The kind of the ask for what observers may see.
pub(crate) const VIEW: &str = "view";

/// The end of an ask, as the session takes it. `schema` is that of the ask, if it still waits.
pub(crate) fn ended(
    rules: &Rules,
    ask: AskId,
    schema: Option<&str>,
    member: String,
    message: &Message,
    failure: Option<&AskFailure>,
) -> Input {
    let how = match failure {
        None => {
            let body = match schema {
                Some(schema) => rules.answer(schema, &message.body),
                None => any(&message.body),
            };
            return Input::Answer { ask, member, msg_id: message.id.to_string(), body };
        }
        Some(AskFailure::Timeout) => Closed::Expired,
        Some(AskFailure::Refused(_)) => Closed::Refused,
        Some(AskFailure::Down(_)) => Closed::Down,
        Some(_) => Closed::Undeliverable,
    };
    Input::Unanswered { ask, how }
}

/// A body that no schema is for.
pub(crate) fn any(body: &Bytes) -> Result<String, String> {
    let value = serde_json::from_slice(body).map_err(|error| format!("it is no JSON: {error}"))?;
    canonical(&value)
}

/// What the body of a notice says of an agent's end.
pub(crate) fn down(body: &Bytes) -> DownReason {
    let text = String::from_utf8_lossy(body);
    let word = text.split(':').next().unwrap_or_default();
    let ordinary = [ExitReason::Normal, ExitReason::Shutdown].iter().any(|reason| reason.word() == word);
    match word {
        _ if ordinary => DownReason::Left,
        "no-agent" => DownReason::Unreachable,
        _ => DownReason::Crashed,
    }
}
