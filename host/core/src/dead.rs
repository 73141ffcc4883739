//! Messages that nobody will handle, kept for an operator. Never retries one, and never writes one down: the rows of
//! durable ones are the runtime's.

use std::collections::BTreeMap;

use crate::id::MessageId;
use crate::message::{DeadReason, Message};
use crate::name::Name;

/// A message that nobody will handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message, as it was.
    pub message: Message,
    /// For whom it was: the name, for the number may be nobody's by now.
    pub to: Name,
    /// From whom; none is the outside.
    pub from: Option<Name>,
    /// Why it died.
    pub reason: DeadReason,
    /// When, nanoseconds since 1970.
    pub time_ns: u64,
}

impl DeadLetter {
    fn weight_bytes(&self) -> u64 {
        let text = match &self.reason {
            DeadReason::Failed(text) => text.len(),
            _ => 0,
        };
        (self.message.weight_bytes() + text) as u64
    }
}

/// How many dead letters are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadRoom {
    /// Letters.
    pub count_max: usize,
    /// Their weight in bytes.
    pub bytes_max: u64,
}

/// The dead letters of a host, in the order in which they died. If there are too many the oldest make place.
#[derive(Debug)]
pub struct DeadLetters {
    room: DeadRoom,
    letters: BTreeMap<u64, DeadLetter>,
    places: BTreeMap<MessageId, u64>,
    next_place: u64,
    bytes: u64,
    dropped: u64,
}

impl DeadLetters {
    /// Without letters.
    pub fn new(room: DeadRoom) -> Self {
        Self { room, letters: BTreeMap::new(), places: BTreeMap::new(), next_place: 0, bytes: 0, dropped: 0 }
    }

    /// Adds a letter, in place of one of the same message. Returns what had to make place for it, the oldest first;
    /// that may be the letter itself, if it is larger than all the room.
    pub fn push(&mut self, letter: DeadLetter) -> Vec<DeadLetter> {
        self.remove(letter.message.id);
        self.bytes += letter.weight_bytes();
        self.places.insert(letter.message.id, self.next_place);
        self.letters.insert(self.next_place, letter);
        self.next_place += 1;
        let mut dropped = Vec::new();
        while self.letters.len() > self.room.count_max || self.bytes > self.room.bytes_max {
            let Some(oldest) = self.pop_oldest() else { break };
            dropped.push(oldest);
        }
        self.dropped += dropped.len() as u64;
        dropped
    }

    fn pop_oldest(&mut self) -> Option<DeadLetter> {
        let (_, letter) = self.letters.pop_first()?;
        self.places.remove(&letter.message.id);
        self.bytes = self.bytes.saturating_sub(letter.weight_bytes());
        Some(letter)
    }

    /// The letter of a message.
    pub fn get(&self, id: MessageId) -> Option<&DeadLetter> {
        self.letters.get(self.places.get(&id)?)
    }

    /// Takes out the letter of a message.
    pub fn remove(&mut self, id: MessageId) -> Option<DeadLetter> {
        let letter = self.letters.remove(&self.places.remove(&id)?)?;
        self.bytes = self.bytes.saturating_sub(letter.weight_bytes());
        Some(letter)
    }

    /// The oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &DeadLetter> {
        self.letters.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Their weight.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many had to make place since the host started.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::id::AgentId;
    use crate::message::{Channel, Class};

    fn letter(id: u128, body_bytes: usize) -> DeadLetter {
        let message = Message {
            id: MessageId(id),
            sender: AgentId::OUTSIDE,
            kind: Name::new("k").unwrap(),
            channel: Channel::Events,
            class: Class::Tell,
            failed_turns: 3,
            hops: 0,
            accepted_ns: 0,
            row: None,
            body: Bytes::from(vec![0; body_bytes]),
            rare: None,
        };
        DeadLetter {
            message,
            to: Name::new("a").unwrap(),
            from: None,
            reason: DeadReason::Failed("trap".to_owned()),
            time_ns: id as u64,
        }
    }

    fn ids<'a>(letters: impl IntoIterator<Item = &'a DeadLetter>) -> Vec<u128> {
        letters.into_iter().map(|letter| letter.message.id.0).collect()
    }

    fn room_for(count_max: usize, bytes_max: u64) -> DeadLetters {
        DeadLetters::new(DeadRoom { count_max, bytes_max })
    }

    #[test]
    fn the_oldest_makes_place_and_is_counted() {
        let mut letters = room_for(2, u64::MAX);
        assert_eq!(ids(&letters.push(letter(9, 0))), [0; 0]);
        letters.push(letter(5, 0));
        assert_eq!(ids(&letters.push(letter(7, 0))), [9]);
        assert_eq!(ids(letters.iter()), [5, 7]);
        assert_eq!(ids(letters.iter().rev()), [7, 5]);
        assert_eq!(letters.dropped(), 1);
        assert_eq!(letters.get(MessageId(9)), None);
    }

    #[test]
    fn what_is_larger_than_all_the_room_is_not_kept() {
        let mut letters = room_for(9, 1_000);
        letters.push(letter(1, 0));
        assert_eq!(ids(&letters.push(letter(2, 1_000))), [1, 2]);
        assert_eq!((letters.bytes(), letters.is_empty(), letters.dropped()), (0, true, 2));
    }

    #[test]
    fn a_message_that_dies_again_is_there_once() {
        let mut letters = room_for(9, u64::MAX);
        for id in [1, 2, 1] {
            letters.push(letter(id, 10));
        }
        assert_eq!(ids(letters.iter()), [2, 1]);
        assert_eq!(letters.remove(MessageId(1)), Some(letter(1, 10)));
        assert_eq!(letters.remove(MessageId(1)), None);
        assert_eq!((letters.len(), letters.dropped()), (1, 0));
    }

    proptest! {
        #[test]
        fn the_bounds_hold_and_the_books_agree(
            steps in prop::collection::vec((0u128..12, 0usize..400, prop::bool::weighted(0.8)), 0..80),
        ) {
            let mut letters = room_for(5, 1_500);
            for (id, body_bytes, push) in steps {
                if push {
                    letters.push(letter(id, body_bytes));
                } else {
                    letters.remove(MessageId(id));
                }
                prop_assert!(letters.len() <= 5 && letters.bytes() <= 1_500);
                prop_assert_eq!(letters.bytes(), letters.iter().map(DeadLetter::weight_bytes).sum::<u64>());
                prop_assert_eq!(letters.places.len(), letters.len());
                for id in ids(letters.iter()) {
                    prop_assert_eq!(letters.get(MessageId(id)).map(|found| found.message.id.0), Some(id));
                }
            }
        }
    }
}
