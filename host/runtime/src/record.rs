//! The values that the runtime keeps in the store: a line of JSON, then the body as it is. `docs/formats.md` lists them.
//!
//! Only this file knows their shape. A field is only ever added, with a default.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use skep_core::ask::{OpenAsk, Owed};
use skep_core::turn::Profile;
use skep_core::{AgentId, AskFailure, Bytes, Channel, ExitReason, Message, MessageId, Name, Refusal, SendError};

/// Numbers of agents in a block: one of which an agent was purged is not given out from again.
const NUMBERS_PER_BLOCK: u32 = 1_024;
/// What the keys of such blocks begin with.
const BLOCK_PREFIX: &[u8] = b"numbers/";

/// A record that cannot be read: the text names what and why.
#[derive(Debug, thiserror::Error)]
#[error("a record of {what} cannot be read: {why}")]
pub(crate) struct Unreadable {
    pub(crate) what: &'static str,
    pub(crate) why: String,
}

/// A value: what is said of it, and its body.
#[expect(clippy::expect_used, reason = "better no row than one that cannot be read, and it never comes to that")]
pub(crate) fn encode(header: &impl Serialize, body: &[u8]) -> Bytes {
    let mut bytes = serde_json::to_vec(header).expect("a header of strings, numbers and lists of them has a JSON form");
    bytes.push(b'\n');
    bytes.extend_from_slice(body);
    bytes.into()
}

pub(crate) fn decode<T: DeserializeOwned>(what: &'static str, value: &Bytes) -> Result<(T, Bytes), Unreadable> {
    let unreadable = |why: String| Unreadable { what, why };
    let end = value
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| unreadable("its first line does not end".to_owned()))?;
    let header =
        serde_json::from_slice(value.get(..end).unwrap_or_default()).map_err(|why| unreadable(why.to_string()))?;
    Ok((header, value.slice(end + 1..)))
}

/// The key of the block that a number is in.
pub(crate) fn block_key(id: AgentId) -> Bytes {
    [BLOCK_PREFIX, &(id.0 / NUMBERS_PER_BLOCK).to_be_bytes()].concat().into()
}

/// The last number of the block with this key; none if it is no such key.
pub(crate) fn last_of_block(key: &[u8]) -> Option<AgentId> {
    let block = u32::from_be_bytes(key.strip_prefix(BLOCK_PREFIX)?.try_into().ok()?);
    Some(AgentId(block.saturating_mul(NUMBERS_PER_BLOCK).saturating_add(NUMBERS_PER_BLOCK - 1)))
}

/// The key of a record by id: its 16 bytes, high first.
pub(crate) fn id_key(id: MessageId) -> Bytes {
    Bytes::copy_from_slice(&id.0.to_be_bytes())
}

pub(crate) fn key_id(key: &Bytes) -> Option<MessageId> {
    Some(MessageId(u128::from_be_bytes(key.as_ref().try_into().ok()?)))
}

pub(crate) fn name_key(name: &Name) -> Bytes {
    Bytes::copy_from_slice(name.as_str().as_bytes())
}

/// An ask that is open.
#[derive(Serialize, Deserialize)]
pub(crate) struct AskRecord {
    to: u32,
    deadline_ns: u64,
    channel: u8,
}

impl AskRecord {
    pub(crate) fn of(open: &OpenAsk) -> Self {
        Self { to: open.to.0, deadline_ns: open.deadline_ns, channel: open.channel as u8 }
    }

    pub(crate) fn open(&self) -> OpenAsk {
        let channel = Channel::from_number(self.channel).unwrap_or(Channel::Events);
        OpenAsk { to: AgentId(self.to), deadline_ns: self.deadline_ns, channel }
    }
}

/// A reply that is owed.
#[derive(Serialize, Deserialize)]
pub(crate) struct OwedRecord {
    asker: u32,
    deadline_ns: u64,
    channel: u8,
    blocking: bool,
    client_id: Option<String>,
    /// The caller's message, if the asker is blocked in a call.
    #[serde(default)]
    cause: Option<String>,
}

impl OwedRecord {
    pub(crate) fn of(owed: &Owed, cause: Option<MessageId>) -> Self {
        Self {
            asker: owed.asker.0,
            deadline_ns: owed.deadline_ns,
            channel: owed.channel as u8,
            blocking: owed.blocking,
            client_id: owed.client_id.map(|id| id.to_string()),
            cause: cause.map(|id| id.to_string()),
        }
    }

    pub(crate) fn cause(&self) -> Option<MessageId> {
        self.cause.as_deref().and_then(MessageId::parse)
    }

    pub(crate) fn owed(&self) -> Owed {
        Owed {
            asker: AgentId(self.asker),
            deadline_ns: self.deadline_ns,
            channel: Channel::from_number(self.channel).unwrap_or(Channel::Events),
            blocking: self.blocking,
            client_id: self.client_id.as_deref().and_then(MessageId::parse),
        }
    }
}

/// A timer that is set, or that has fired and waits to be handled.
#[derive(Serialize, Deserialize)]
pub(crate) struct TimerRecord {
    pub(crate) due_ns: u64,
    pub(crate) every_ns: u64,
}

/// What a client's message id stands for by now.
#[derive(Serialize, Deserialize)]
pub(crate) struct SeenRecord {
    pub(crate) time_ns: u64,
    pub(crate) end: SeenEnd,
}

/// How far a client's message has come.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SeenEnd {
    /// It is stored, or handled without a reply.
    Taken,
    /// It was replied to: the body.
    Replied,
    /// It was refused.
    Refused {
        /// invalid, unknown-kind, denied, unavailable or failed.
        kind: String,
        text: String,
    },
    /// It is a dead letter.
    Dead,
}

impl SeenEnd {
    pub(crate) fn of(result: &Result<Bytes, AskFailure>) -> Self {
        match result {
            Ok(_) => Self::Replied,
            Err(AskFailure::Refused(refusal)) => {
                let (kind, text) = refusal_parts(refusal);
                Self::Refused { kind: kind.to_owned(), text: text.to_owned() }
            }
            Err(_) => Self::Dead,
        }
    }

    pub(crate) fn result(&self, body: Bytes) -> Option<Result<Bytes, AskFailure>> {
        match self {
            Self::Taken => None,
            Self::Replied => Some(Ok(body)),
            Self::Refused { kind, text } => Some(Err(AskFailure::Refused(refusal(kind, text.clone())))),
            Self::Dead => Some(Err(AskFailure::DeadLetter)),
        }
    }
}

fn refusal_parts(refusal: &Refusal) -> (&'static str, &str) {
    let (Refusal::Invalid(text)
    | Refusal::UnknownKind(text)
    | Refusal::Denied(text)
    | Refusal::Unavailable(text)
    | Refusal::Failed(text)) = refusal;
    (refusal.word(), text)
}

fn refusal(kind: &str, text: String) -> Refusal {
    match kind {
        "invalid" => Refusal::Invalid(text),
        "unknown-kind" => Refusal::UnknownKind(text),
        "denied" => Refusal::Denied(text),
        "unavailable" => Refusal::Unavailable(text),
        _ => Refusal::Failed(text),
    }
}

/// The recorded reply of a call.
#[derive(Serialize, Deserialize)]
pub(crate) struct CallRecord {
    /// The caller's message.
    cause: String,
    pub(crate) end: SeenEnd,
}

impl CallRecord {
    pub(crate) fn of(cause: MessageId, result: &Result<Bytes, AskFailure>) -> Self {
        Self { cause: cause.to_string(), end: SeenEnd::of(result) }
    }

    pub(crate) fn cause(&self) -> Result<MessageId, String> {
        MessageId::parse(&self.cause).ok_or_else(|| "its cause is no id".to_owned())
    }
}

/// What an agent holds beside its state, by the first part of the key.
pub(crate) mod handle {
    /// A subscription; the rest of the key is its pattern.
    pub(crate) const SUBSCRIPTION: &str = "subscription ";
    /// A group; the rest is its name.
    pub(crate) const GROUP: &str = "group ";
    /// A link; the rest is the other agent's name.
    pub(crate) const LINK: &str = "link ";
    /// A monitor; the rest is the other agent's name.
    pub(crate) const MONITOR: &str = "monitor ";
    /// What it has registered.
    pub(crate) const PROFILE: &str = "profile";
}

/// What an agent says of itself.
#[derive(Serialize, Deserialize)]
pub(crate) struct ProfileRecord {
    capabilities: Vec<String>,
    protocols: Vec<String>,
    metadata: Vec<(String, String)>,
}

impl ProfileRecord {
    pub(crate) fn of(profile: &Profile) -> Self {
        let texts = |names: &[Name]| names.iter().map(ToString::to_string).collect();
        Self {
            capabilities: texts(&profile.capabilities),
            protocols: texts(&profile.protocols),
            metadata: profile.metadata.clone(),
        }
    }

    pub(crate) fn profile(self) -> Profile {
        let names = |texts: Vec<String>| texts.iter().filter_map(|text| Name::new(text).ok()).collect();
        Profile { capabilities: names(self.capabilities), protocols: names(self.protocols), metadata: self.metadata }
    }
}

/// A dead letter: everything of the message but its body, and why it died.
#[derive(Serialize, Deserialize)]
pub(crate) struct DeadRecord {
    pub(crate) to: String,
    pub(crate) from: Option<String>,
    pub(crate) sender: u32,
    pub(crate) kind: String,
    pub(crate) channel: u8,
    pub(crate) attempts: u32,
    pub(crate) accepted_ns: u64,
    pub(crate) reason: String,
    pub(crate) detail: String,
    pub(crate) time_ns: u64,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) content_type: Option<String>,
}

/// The word of an ask's end, for counters and events.
pub(crate) fn failure_word(failure: &AskFailure) -> &'static str {
    match failure {
        AskFailure::NotSent(SendError::Full) => "full",
        AskFailure::NotSent(SendError::Absent) => "absent",
        AskFailure::NotSent(SendError::Denied(_)) => "denied",
        AskFailure::NotSent(_) => "not-sent",
        AskFailure::Refused(_) => "refused",
        AskFailure::Timeout => "timeout",
        AskFailure::Down(_) => "down",
        AskFailure::DeadLetter => "dead-letter",
        AskFailure::Cycle(_) => "cycle",
        _ => "other",
    }
}

/// What a `down` message says: the reason in UTF-8.
pub(crate) fn down_body(reason: &ExitReason) -> Bytes {
    reason.to_string().into()
}

/// The id of a call: that of its effect, and of what it says. The same call with another body is another one.
pub(crate) fn call_id(message: &Message) -> MessageId {
    let content = MessageId::of_bytes(message.kind.as_str(), &message.body);
    MessageId(message.id.0 ^ content.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_bytes_with_a_body_of_any_kind() {
        let body = b"line\nline\0\xff";
        let value = encode(&TimerRecord { due_ns: 7, every_ns: 0 }, body);
        let (record, rest): (TimerRecord, Bytes) = decode("timer", &value).unwrap();
        assert_eq!((record.due_ns, rest.as_ref()), (7, body.as_slice()));
    }

    #[test]
    #[should_panic(expected = "has a JSON form")]
    fn a_header_without_a_json_form_is_no_row() {
        encode(&std::collections::BTreeMap::from([(vec![1], 2)]), b"");
    }

    #[test]
    fn a_damaged_record_is_an_error_that_names_it() {
        for value in ["", "{}", "nonsense\n", "{\"due_ns\":-1,\"every_ns\":0}\n"] {
            let error = decode::<TimerRecord>("timer", &Bytes::from_static(value.as_bytes())).err();
            assert!(error.is_some_and(|error| error.to_string().contains("timer")), "{value}");
        }
    }

    #[test]
    fn a_refusal_is_remembered_as_it_was() {
        let result = Err(AskFailure::Refused(Refusal::Denied("no".to_owned())));
        assert_eq!(SeenEnd::of(&result).result(Bytes::new()), Some(result));
    }
}
