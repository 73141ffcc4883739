//! The two ends of a link between hosts: what waits until the other host has it in its journal, and how far the other
//! host has come. Each message has a place in the order of the link; whatever is lost, doubled or late on the way, it is
//! taken once and in order. Never how it travels, nor what a message is.

use std::collections::VecDeque;

use crate::id::Seq;

/// A place in the order of a link: the row of the message, and, if it has none, how many such came since the last row.
///
/// Rows are given in the order of the commits and never twice in the life of a journal, so a place means the same after
/// the host was started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The row.
    pub row: u64,
    /// 0: the message of the row.
    pub sub: u64,
}

impl Place {
    /// Before all messages.
    pub const START: Self = Self { row: 0, sub: 0 };

    fn next(self, row: Option<Seq>) -> Self {
        match row {
            Some(Seq(row)) if row > self.row => Self { row, sub: 0 },
            _ => Self { row: self.row, sub: self.sub.saturating_add(1) },
        }
    }
}

/// What an outbox takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxRoom {
    /// Messages, with those that are promised a place.
    pub messages_max: usize,
    /// What they weigh, in bytes.
    pub bytes_max: usize,
    /// Messages that are sent and not confirmed, at a time.
    pub sent_messages_max: usize,
    /// What those weigh, in bytes.
    pub sent_bytes_max: usize,
}

/// The sending end.
#[derive(Debug)]
pub struct Outbox<M> {
    entries: VecDeque<Entry<M>>,
    /// So many from the front are sent.
    sent: usize,
    sent_bytes: usize,
    bytes: usize,
    promised: usize,
    promised_bytes: usize,
    last: Place,
    room: OutboxRoom,
}

#[derive(Debug)]
struct Entry<M> {
    place: Place,
    /// The row that goes when it is confirmed.
    row: Option<Seq>,
    weight_bytes: usize,
    since_ns: u64,
    message: M,
}

/// What is to be sent at once.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch<'a, M> {
    /// The place before the first one; `START`: all that came before it is confirmed.
    pub after: Place,
    /// The messages, in order.
    pub messages: Vec<(Place, &'a M)>,
}

impl<M> Outbox<M> {
    /// Empty; places go on after `last`.
    pub fn new(room: OutboxRoom, last: Place) -> Self {
        let entries = VecDeque::new();
        Self { entries, sent: 0, sent_bytes: 0, bytes: 0, promised: 0, promised_bytes: 0, last, room }
    }

    /// The host has started: what comes from now on has places after this one.
    pub fn started(&mut self, first: Place) {
        self.last = self.last.max(first);
    }

    /// Promises a place to a message of this weight; false: there is no room.
    pub fn reserve(&mut self, weight_bytes: usize) -> bool {
        let messages = self.entries.len() + self.promised;
        let bytes = self.bytes + self.promised_bytes;
        let fits = messages < self.room.messages_max && bytes + weight_bytes <= self.room.bytes_max;
        if fits {
            self.promised += 1;
            self.promised_bytes += weight_bytes;
        }
        fits
    }

    /// A promised place is not needed.
    pub fn give_back(&mut self, weight_bytes: usize) {
        self.promised = self.promised.saturating_sub(1);
        self.promised_bytes = self.promised_bytes.saturating_sub(weight_bytes);
    }

    /// Puts in a message, which always has room: a place was promised to it, or it answers one that had.
    pub fn push(&mut self, message: M, row: Option<Seq>, weight_bytes: usize, now_ns: u64) {
        let place = self.last.next(row);
        self.last = place;
        self.bytes += weight_bytes;
        self.entries.push_back(Entry { place, row, weight_bytes, since_ns: now_ns, message });
    }

    /// What can be sent now, at most so much; it counts as sent.
    pub fn send(&mut self, messages_max: usize, bytes_max: usize) -> Option<Batch<'_, M>> {
        let before = self.sent.checked_sub(1).and_then(|at| self.entries.get(at));
        let after = before.map_or(Place::START, |entry| entry.place);
        let (from, mut bytes) = (self.sent, 0);
        while let Some(entry) = self.entries.get(self.sent) {
            let count = self.sent - from;
            let is_first = count == 0;
            let fits = count < messages_max && bytes + entry.weight_bytes <= bytes_max;
            let open = self.sent < self.room.sent_messages_max
                && self.sent_bytes + entry.weight_bytes <= self.room.sent_bytes_max;
            // One that is heavier than all that is allowed goes alone.
            if !(fits || is_first) || !(open || self.sent == 0) {
                break;
            }
            bytes += entry.weight_bytes;
            self.sent_bytes += entry.weight_bytes;
            self.sent += 1;
        }
        let messages = self.entries.range(from..self.sent).map(|entry| (entry.place, &entry.message)).collect();
        (self.sent > from).then_some(Batch { after, messages })
    }

    /// The other host has everything up to this place in its journal. Returns the rows that are needed no more.
    pub fn confirm(&mut self, upto: Place) -> Vec<Seq> {
        let count = self.entries.iter().take_while(|entry| entry.place <= upto).count();
        let mut rows = Vec::new();
        for entry in self.entries.drain(..count) {
            self.bytes -= entry.weight_bytes;
            if self.sent > 0 {
                self.sent -= 1;
                self.sent_bytes -= entry.weight_bytes;
            }
            rows.extend(entry.row);
        }
        rows
    }

    /// Takes the first message out: it cannot be sent at all. All that is sent has to be sent again.
    pub fn drop_first(&mut self) -> Option<M> {
        self.rewind();
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.weight_bytes;
        Some(entry.message)
    }

    /// What was sent may be lost: it is sent once more, from the first that is not confirmed.
    pub fn rewind(&mut self) {
        (self.sent, self.sent_bytes) = (0, 0);
    }

    /// Messages that are not confirmed.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether all is confirmed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Messages that are sent and not confirmed.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// What the messages weigh, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest one was put in.
    pub fn oldest_ns(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.since_ns)
    }
}

/// The receiving end: how far a link has been taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark(pub Place);

impl Mark {
    /// How many of the messages at these places, from the front, are here already; none: something is missing before
    /// them, and the sender has to send again from what is confirmed to it.
    pub fn known(self, after: Place, mut places: impl Iterator<Item = Place>) -> Option<usize> {
        // Up to `START` everything is here: to the sender it is confirmed.
        let mut count = 0;
        if after > self.0 {
            return None;
        }
        while places.next().is_some_and(|place| place <= self.0) {
            count += 1;
        }
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOM: OutboxRoom = OutboxRoom { messages_max: 4, bytes_max: 100, sent_messages_max: 3, sent_bytes_max: 50 };

    fn outbox() -> Outbox<u32> {
        Outbox::new(ROOM, Place::START)
    }

    fn sent(outbox: &mut Outbox<u32>) -> Option<(Place, Vec<u32>)> {
        outbox.send(2, 40).map(|batch| (batch.after, batch.messages.iter().map(|(_, message)| **message).collect()))
    }

    #[test]
    fn a_place_is_promised_as_long_as_there_is_one() {
        let mut outbox = outbox();
        assert!(outbox.reserve(60) && !outbox.reserve(41) && outbox.reserve(40));
        outbox.give_back(40);
        assert!(outbox.reserve(10) && outbox.reserve(10) && outbox.reserve(10) && !outbox.reserve(10));
    }

    #[test]
    fn what_is_sent_is_bounded_until_it_is_confirmed_and_is_sent_again_after_a_rewind() {
        let mut outbox = outbox();
        for (message, row) in [(1, Some(7)), (2, None), (3, Some(9)), (4, Some(10))] {
            outbox.push(message, row.map(Seq), 10, 0);
        }
        assert_eq!(sent(&mut outbox), Some((Place::START, vec![1, 2])));
        assert_eq!(sent(&mut outbox), Some((Place { row: 7, sub: 1 }, vec![3])));
        assert_eq!(sent(&mut outbox), None);
        assert_eq!(outbox.confirm(Place { row: 7, sub: 1 }), [Seq(7)]);
        assert_eq!(sent(&mut outbox), Some((Place { row: 9, sub: 0 }, vec![4])));
        outbox.rewind();
        assert_eq!(sent(&mut outbox), Some((Place::START, vec![3, 4])));
        assert_eq!(outbox.confirm(Place { row: 10, sub: 0 }), [Seq(9), Seq(10)]);
        assert!(outbox.is_empty() && outbox.bytes() == 0 && outbox.sent() == 0);
    }

    #[test]
    fn one_that_is_heavier_than_all_bounds_goes_alone() {
        let mut outbox = outbox();
        outbox.push(1, None, 90, 0);
        outbox.push(2, None, 1, 0);
        assert_eq!(sent(&mut outbox), Some((Place::START, vec![1])));
        assert_eq!(sent(&mut outbox), None);
        assert_eq!((outbox.drop_first(), outbox.bytes()), (Some(1), 1));
        assert_eq!(sent(&mut outbox), Some((Place::START, vec![2])));
    }

    /// What may happen to a link.
    #[derive(Clone, Debug)]
    enum Step {
        /// A message, with a row or without.
        Push(bool),
        Send,
        /// The frame at this place of what is under way arrives, and stays there to arrive again.
        Arrive(usize),
        Lose(usize),
        /// A word on how far the receiver is arrives, or not.
        Confirm(bool),
        Rewind,
        /// The sender is killed: what has a row comes back.
        SenderStarts,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => any::<bool>().prop_map(Step::Push),
            4 => Just(Step::Send),
            6 => (0usize..8).prop_map(Step::Arrive),
            2 => (0usize..8).prop_map(Step::Lose),
            3 => any::<bool>().prop_map(Step::Confirm),
            1 => Just(Step::Rewind),
            1 => Just(Step::SenderStarts),
        ];
        prop::collection::vec(step, 0..80)
    }

    type Frame = (Place, Vec<(Place, u32)>);

    /// A link with whatever is under way on it.
    struct Link {
        outbox: Outbox<u32>,
        under_way: Vec<Frame>,
        mark: Mark,
        taken: Vec<u32>,
        /// Row and message of what the sender's journal holds.
        journal: Vec<(u64, u32)>,
        pushed: Vec<(bool, u32)>,
        next_row: u64,
        /// Messages without a row that were in an outbox which has died.
        forgotten: Vec<u32>,
    }

    impl Link {
        fn new() -> Self {
            let outbox = Outbox::new(OutboxRoom { sent_messages_max: 6, ..ROOM }, Place::START);
            let (mark, journal) = (Mark::default(), Vec::new());
            let (under_way, taken, pushed, forgotten) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            Self { outbox, under_way, mark, taken, journal, pushed, next_row: 1, forgotten }
        }

        fn push(&mut self, durable: bool) {
            let message = self.pushed.len() as u32;
            self.pushed.push((durable, message));
            let row = durable.then_some(self.next_row);
            if let Some(row) = row {
                self.next_row += 1;
                self.journal.push((row, message));
            }
            self.outbox.push(message, row.map(Seq), 1, 0);
        }

        fn send(&mut self) {
            if let Some(batch) = self.outbox.send(3, 40) {
                let messages = batch.messages.iter().map(|(place, message)| (*place, **message)).collect();
                self.under_way.push((batch.after, messages));
            }
        }

        fn arrive(&mut self, at: usize) {
            let Some((after, messages)) = self.under_way.get(at).cloned() else { return };
            match self.mark.known(after, messages.iter().map(|(place, _)| *place)) {
                Some(known) => {
                    for (place, message) in messages.into_iter().skip(known) {
                        self.taken.push(message);
                        self.mark = Mark(place);
                    }
                }
                None => self.outbox.rewind(),
            }
        }

        fn confirm(&mut self) {
            for row in self.outbox.confirm(self.mark.0) {
                self.journal.retain(|(held, _)| *held != row.0);
            }
        }

        fn start_again(&mut self) {
            let first_row = (self.next_row / 1_000 + 1) * 1_000;
            self.next_row = first_row + 1;
            let held: Vec<u32> = self.outbox.entries.iter().map(|entry| entry.message).collect();
            self.forgotten.extend(held.iter().filter(|held| !self.journal.iter().any(|(_, kept)| kept == *held)));
            self.outbox = Outbox::new(self.outbox.room, Place::START);
            for (row, message) in &self.journal {
                self.outbox.push(*message, Some(Seq(*row)), 1, 0);
            }
            self.outbox.started(Place { row: first_row, sub: 0 });
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_on_the_way_all_is_taken_once_and_in_order(steps in steps()) {
            let mut link = Link::new();
            for step in steps {
                match step {
                    Step::Push(durable) => link.push(durable),
                    Step::Send => link.send(),
                    Step::Arrive(at) => link.arrive(at),
                    Step::Lose(at) if at < link.under_way.len() => drop(link.under_way.remove(at)),
                    Step::Lose(_) => {}
                    Step::Confirm(true) => link.confirm(),
                    Step::Confirm(false) => {}
                    Step::Rewind => link.outbox.rewind(),
                    Step::SenderStarts => link.start_again(),
                }
                prop_assert!(link.taken.is_sorted_by(|before, after| before < after), "{:?}", link.taken);
            }
            // In the end the way is clear.
            for _ in 0..200 {
                link.outbox.rewind();
                link.under_way.clear();
                link.send();
                link.arrive(0);
                link.confirm();
            }
            prop_assert!(link.outbox.is_empty() && link.journal.is_empty());
            for (durable, message) in &link.pushed {
                let taken = link.taken.contains(message);
                prop_assert!(taken || (!durable && link.forgotten.contains(message)), "{message} is lost");
            }
        }
    }
}
