//! What hosts send each other: frames of messages, and the word that confirms them. `docs/formats.md` has them. Names
//! stand for agents here: numbers mean something on one host only.

use serde::{Deserialize, Serialize};
use skep_core::form::{FailureForm, RareForm};
use skep_core::outbox::Place;
use skep_core::{Bytes, Channel, Class, Message, MessageId, Name, Rare};

use crate::record::{decode, encode};

/// Part of a frame: its length first, in four bytes, low first.
const LENGTH_BYTES: usize = 4;
/// What a message takes of a frame beside its weight, in bytes: names, ids and their JSON.
pub(super) const MESSAGE_BYTES: usize = 1_024;

/// What a frame begins with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// The sender's journal.
    pub(super) journal: u64,
    /// The place before the first message.
    after: (u64, u64),
}

/// The word that a host has everything up to a place.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Confirmation {
    /// The sender's journal.
    pub(super) journal: u64,
    upto: (u64, u64),
    /// Something is missing after it: the sender is to send again.
    pub(super) gap: bool,
}

impl Confirmation {
    pub(super) fn new(journal: u64, upto: Place, gap: bool) -> Self {
        Self { journal, upto: (upto.row, upto.sub), gap }
    }

    pub(super) fn upto(&self) -> Place {
        place(self.upto)
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        encode(self, b"")
    }

    pub(super) fn from_bytes(bytes: &Bytes) -> Option<Self> {
        decode("confirmation", bytes).ok().map(|(confirmation, _)| confirmation)
    }
}

#[derive(Serialize, Deserialize)]
struct Entry {
    place: (u64, u64),
    id: String,
    from: String,
    /// None: whoever is subscribed to the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    kind: String,
    channel: u8,
    class: ClassForm,
    hops: u32,
    accepted_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rare: Option<RareForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ClassForm {
    Tell,
    Ask { deadline_ns: u64 },
    Call { deadline_ns: u64 },
    Answer { ask: String, failure: Option<FailureForm> },
    Published { topic: String },
}

/// A message between hosts.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) place: Place,
    pub(super) from: Name,
    /// None: whoever is subscribed to the topic.
    pub(super) to: Option<Name>,
    /// Its sender is not filled in, and it has no row.
    pub(super) message: Message,
}

fn place((row, sub): (u64, u64)) -> Place {
    Place { row, sub }
}

/// A frame under construction.
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(journal: u64, after: Place) -> Self {
        let mut writer = Self { bytes: Vec::new() };
        writer.part(&encode(&Head { journal, after: (after.row, after.sub) }, b""));
        writer
    }

    fn part(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(part);
    }

    /// False: messages of this class do not travel.
    pub(super) fn message(&mut self, at: Place, from: &Name, to: Option<&Name>, message: &Message) -> bool {
        let class = match &message.class {
            Class::Tell => ClassForm::Tell,
            Class::Ask { deadline_ns, blocking: false } => ClassForm::Ask { deadline_ns: *deadline_ns },
            Class::Ask { deadline_ns, blocking: true } => ClassForm::Call { deadline_ns: *deadline_ns },
            Class::Answer { ask, failure } => {
                ClassForm::Answer { ask: ask.to_string(), failure: failure.as_deref().map(FailureForm::from) }
            }
            Class::Published { topic } => ClassForm::Published { topic: topic.to_string() },
            Class::Timer { .. } | Class::Down => return false,
        };
        let entry = Entry {
            place: (at.row, at.sub),
            id: message.id.to_string(),
            from: from.to_string(),
            to: to.map(ToString::to_string),
            kind: message.kind.to_string(),
            channel: message.channel as u8,
            class,
            hops: message.hops,
            accepted_ns: message.accepted_ns,
            rare: message.rare.as_deref().map(RareForm::from),
        };
        self.part(&encode(&entry, &message.body));
        true
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes.into()
    }
}

/// A frame that was received: the place before its first message, and its messages.
pub(super) struct Received {
    pub(super) journal: u64,
    pub(super) after: Place,
    pub(super) parcels: Vec<Parcel>,
}

impl Received {
    /// The error is why it is no frame of this version.
    pub(super) fn read(bytes: &Bytes) -> Result<Self, String> {
        let mut parts = Parts(bytes.clone());
        let head = parts.next()?.ok_or("it is empty")?;
        let (head, _): (Head, Bytes) = decode("frame", &head).map_err(|error| error.to_string())?;
        let mut parcels = Vec::new();
        while let Some(part) = parts.next()? {
            let (entry, body) = decode::<Entry>("message", &part).map_err(|error| error.to_string())?;
            parcels.push(entry.parcel(body)?);
        }
        Ok(Self { journal: head.journal, after: place(head.after), parcels })
    }
}

struct Parts(Bytes);

impl Parts {
    fn next(&mut self) -> Result<Option<Bytes>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let cut = || "it is cut off".to_owned();
        if self.0.len() < LENGTH_BYTES {
            return Err(cut());
        }
        let length = self.0.split_to(LENGTH_BYTES);
        let length = u32::from_le_bytes(length.as_ref().try_into().map_err(|_| cut())?) as usize;
        if self.0.len() < length {
            return Err(cut());
        }
        Ok(Some(self.0.split_to(length)))
    }
}

impl Entry {
    fn parcel(self, body: Bytes) -> Result<Parcel, String> {
        let name = |text: &str| Name::new(text).map_err(|bad| bad.to_string());
        let id = |text: &str| MessageId::parse(text).ok_or("an id is none");
        let class = match self.class {
            ClassForm::Tell => Class::Tell,
            ClassForm::Ask { deadline_ns } | ClassForm::Call { deadline_ns } => {
                // Who waits is on the other host: here it is an ask like any other.
                Class::Ask { deadline_ns, blocking: false }
            }
            ClassForm::Answer { ask, failure } => {
                Class::Answer { ask: id(&ask)?, failure: failure.map(|failure| Box::new(failure.into())) }
            }
            ClassForm::Published { topic } => Class::Published { topic: topic.into() },
        };
        let rare: Option<Rare> = match self.rare {
            Some(form) => Some(form.into_rare().ok_or("an id is none")?),
            None => None,
        };
        let message = Message {
            id: id(&self.id)?,
            sender: skep_core::AgentId::OUTSIDE,
            kind: name(&self.kind)?,
            channel: Channel::from_number(self.channel).ok_or("there is no such channel")?,
            class,
            failed_turns: 0,
            hops: self.hops,
            accepted_ns: self.accepted_ns,
            row: None,
            body,
            rare: rare.map(Box::new),
        };
        let to = self.to.as_deref().map(name).transpose()?;
        Ok(Parcel { place: place(self.place), from: name(&self.from)?, to, message })
    }
}

#[cfg(test)]
mod tests {
    use skep_core::AskFailure;

    use super::*;

    fn message(class: Class) -> Message {
        Message {
            id: MessageId(7),
            sender: skep_core::AgentId::OUTSIDE,
            kind: Name::reply(),
            channel: Channel::Data,
            class,
            failed_turns: 0,
            hops: 3,
            accepted_ns: 5,
            row: None,
            body: Bytes::from_static(b"a\n\0b"),
            rare: Some(Box::new(Rare { headers: vec![("a".to_owned(), "b".to_owned())], ..Rare::default() })),
        }
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let (from, to) = (Name::new("a").unwrap(), Name::new("b:c").unwrap());
        let failure = Some(Box::new(AskFailure::Down(skep_core::ExitReason::Shutdown)));
        let classes = [
            Class::Tell,
            Class::Ask { deadline_ns: 9, blocking: false },
            Class::Answer { ask: MessageId(1), failure },
            Class::Published { topic: "a.b".into() },
        ];
        let mut writer = Writer::new(42, Place { row: 1, sub: 2 });
        for (at, class) in classes.iter().enumerate() {
            let place = Place { row: 10 + at as u64, sub: 0 };
            assert!(writer.message(place, &from, (at > 0).then_some(&to), &message(class.clone())));
        }
        assert!(!writer.message(Place::START, &from, None, &message(Class::Down)));
        let bytes = writer.into_bytes();
        let received = Received::read(&bytes).unwrap();
        assert_eq!((received.journal, received.after), (42, Place { row: 1, sub: 2 }));
        for ((at, class), parcel) in classes.into_iter().enumerate().zip(&received.parcels) {
            assert_eq!(parcel.place.row, 10 + at as u64);
            assert_eq!((&parcel.from, parcel.to.is_some()), (&from, at > 0));
            assert_eq!(parcel.message, message(class));
        }
        for cut in 0..bytes.len() {
            let cut_off = Received::read(&bytes.slice(..cut));
            assert!(cut_off.map_or(true, |cut_off| cut_off.parcels.len() < 4), "{cut}");
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for bytes in ["", "x", "\u{4}\0\0\0nope", "\u{ff}\u{ff}\u{ff}\u{ff}"] {
            assert!(Received::read(&Bytes::from_static(bytes.as_bytes())).is_err(), "{bytes:?}");
        }
    }
}
