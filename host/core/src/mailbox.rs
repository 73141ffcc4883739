//! A mailbox: a bounded queue with a lane for each channel, and places reserved for what has been promised room.
//!
//! It outlives the instance that reads it. Never drops anything silently: what has no room is refused before it is
//! sent, and only telemetry makes place by dropping its oldest, which the caller is told to count.

use std::collections::VecDeque;

use crate::limit::Limit;
use crate::message::{BoxedMessage, Channel, Message};

/// How much a mailbox holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Messages, waiting and promised.
    pub messages_max: u32,
    /// Their weight in bytes.
    pub bytes_max: u64,
}

/// How much one batch takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRoom {
    /// Messages.
    pub messages_max: u32,
    /// Their weight in bytes; the first message is taken whatever it weighs.
    pub bytes_max: u64,
}

/// There is no room now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// See the module.
#[derive(Debug)]
pub struct Mailbox {
    lanes: [VecDeque<BoxedMessage>; 5],
    room: Room,
    waiting: u32,
    waiting_bytes: u64,
    promised: u32,
    promised_bytes: u64,
}

impl Mailbox {
    /// An empty one.
    pub fn new(room: Room) -> Self {
        Self { lanes: Default::default(), room, waiting: 0, waiting_bytes: 0, promised: 0, promised_bytes: 0 }
    }

    /// Promises a place for a message of this weight. Telemetry always gets one, at the cost of its oldest.
    pub fn reserve(&mut self, channel: Channel, weight_bytes: usize) -> Result<(), Full> {
        let weight = weight_bytes as u64;
        let fits = self.waiting.saturating_add(self.promised) < self.room.messages_max
            && self.waiting_bytes + self.promised_bytes + weight <= self.room.bytes_max;
        if !fits && channel != Channel::Telemetry {
            return Err(Full);
        }
        self.promised += 1;
        self.promised_bytes += weight;
        Ok(())
    }

    /// When the first message that waits was accepted, nanoseconds since 1970, whatever its lane.
    pub fn oldest_ns(&self) -> Option<u64> {
        self.lanes.iter().filter_map(|lane| lane.front()).map(|message| message.accepted_ns).min()
    }

    /// The bound that one more message of this weight comes nearest to, or over: what is in the way if it has no room.
    pub fn scarcest(&self, weight_bytes: usize) -> (Limit, u64) {
        let (messages_max, bytes_max) = (u64::from(self.room.messages_max), self.room.bytes_max);
        let messages = u64::from(self.waiting.saturating_add(self.promised)) + 1;
        let bytes = self.waiting_bytes.saturating_add(self.promised_bytes).saturating_add(weight_bytes as u64);
        if u128::from(messages) * u128::from(bytes_max) >= u128::from(bytes) * u128::from(messages_max) {
            (Limit::MailboxMessages, messages_max)
        } else {
            (Limit::MailboxBytes, bytes_max)
        }
    }

    /// Promises up to so many places more, of this weight each, as long as the mailbox has plenty of room; says how many.
    pub fn reserve_ahead(&mut self, count: u32, weight_bytes: usize) -> u32 {
        let taken = self.waiting.saturating_add(self.promised).saturating_add(count);
        let bytes = (weight_bytes as u64).saturating_mul(count.into());
        let plenty = taken <= self.room.messages_max / 4 * 3
            && self.waiting_bytes.saturating_add(self.promised_bytes).saturating_add(bytes)
                <= self.room.bytes_max / 4 * 3;
        if !plenty {
            return 0;
        }
        self.promised += count;
        self.promised_bytes += bytes;
        count
    }

    /// Takes back promises of `reserve_ahead`.
    pub fn give_back_ahead(&mut self, count: u32, weight_bytes: usize) {
        self.promised = self.promised.saturating_sub(count);
        self.promised_bytes = self.promised_bytes.saturating_sub(weight_bytes as u64);
    }

    /// Promises a place beyond the bound: for the answer of an ask, whose number is bounded by the asker's handles.
    pub fn reserve_answer(&mut self) {
        self.promised += 1;
    }

    /// Takes back a promise.
    pub fn give_back(&mut self, weight_bytes: usize) {
        self.promised = self.promised.saturating_sub(1);
        self.promised_bytes = self.promised_bytes.saturating_sub(weight_bytes as u64);
    }

    /// Puts in a message whose place was promised at this weight. Returns how many telemetry messages it displaced.
    pub fn push_promised(&mut self, message: BoxedMessage, promised_bytes: usize) -> u32 {
        self.give_back(promised_bytes);
        self.push(message)
    }

    /// Puts in a message whatever the bound: what the host itself has to say (a timer, the end of an ask, what the
    /// store kept), whose number is bounded elsewhere. Returns how many telemetry messages it displaced.
    pub fn push(&mut self, message: BoxedMessage) -> u32 {
        let channel = message.channel;
        self.count_in(&message);
        self.lane(channel).push_back(message);
        if channel == Channel::Telemetry { self.trim_telemetry() } else { 0 }
    }

    fn trim_telemetry(&mut self) -> u32 {
        let mut dropped = 0;
        while self.waiting > self.room.messages_max || self.waiting_bytes > self.room.bytes_max {
            let Some(oldest) = self.lane(Channel::Telemetry).pop_front() else { break };
            self.count_out(&oldest);
            dropped += 1;
        }
        dropped
    }

    /// Puts messages back at the head of their lanes, in the order in which they were taken.
    pub fn put_back(&mut self, messages: Vec<BoxedMessage>) {
        for message in messages.into_iter().rev() {
            self.count_in(&message);
            self.lane(message.channel).push_front(message);
        }
    }

    /// Takes the next messages: the most urgent lane first, in order. The first one that the batch has no room for ends it:
    /// nothing less urgent goes before it.
    pub fn take(&mut self, batch: BatchRoom) -> Vec<BoxedMessage> {
        let count = self.waiting.min(batch.messages_max.max(1)) as usize;
        let mut taken = Vec::with_capacity(count);
        let mut bytes = 0u64;
        'lanes: for lane in &mut self.lanes {
            while let Some(next) = lane.front() {
                let with_next = bytes.saturating_add(next.weight_bytes() as u64);
                if taken.len() >= count || (!taken.is_empty() && with_next > batch.bytes_max) {
                    break 'lanes;
                }
                bytes = with_next;
                taken.extend(lane.pop_front());
            }
        }
        self.waiting -= taken.len() as u32;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        taken
    }

    /// Takes all of it: the agent is gone for good.
    pub fn drain(&mut self) -> Vec<BoxedMessage> {
        self.take(BatchRoom { messages_max: u32::MAX, bytes_max: u64::MAX })
    }

    /// Bytes of the places that are promised.
    pub fn promised_bytes(&self) -> u64 {
        self.promised_bytes
    }

    /// Whether an eighth of the room is free: whoever waits for a place is told of many at once, not of each.
    pub fn is_roomy(&self) -> bool {
        let (messages_max, bytes_max) = (self.room.messages_max, self.room.bytes_max);
        self.waiting.saturating_add(self.promised) <= messages_max - messages_max / 8
            && self.waiting_bytes.saturating_add(self.promised_bytes) <= bytes_max - bytes_max / 8
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Messages waiting.
    pub fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Messages waiting in one lane.
    pub fn waiting_in(&self, channel: Channel) -> usize {
        self.lanes.get(channel as usize).map_or(0, VecDeque::len)
    }

    /// Places that are promised.
    pub fn promised(&self) -> u32 {
        self.promised
    }

    fn count_in(&mut self, message: &Message) {
        self.waiting += 1;
        self.waiting_bytes += message.weight_bytes() as u64;
    }

    fn count_out(&mut self, message: &Message) {
        self.waiting = self.waiting.saturating_sub(1);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(message.weight_bytes() as u64);
    }

    #[expect(clippy::indexing_slicing, reason = "a lane for each of the five channels, whose numbers are 0 to 4")]
    fn lane(&mut self, channel: Channel) -> &mut VecDeque<BoxedMessage> {
        &mut self.lanes[channel as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AgentId, MessageId};
    use crate::message::Class;
    use crate::name::Name;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn message(id: u128, channel: Channel, body: usize) -> BoxedMessage {
        Box::new(Message {
            id: MessageId(id),
            sender: AgentId::OUTSIDE,
            kind: Name::new("k").unwrap(),
            channel,
            class: Class::Tell,
            failed_turns: 0,
            hops: 0,
            accepted_ns: 0,
            row: None,
            body: Bytes::from(vec![0; body]),
            rare: None,
        })
    }

    fn mailbox(messages_max: u32) -> Mailbox {
        Mailbox::new(Room { messages_max, bytes_max: 1 << 20 })
    }

    fn ids(messages: &[BoxedMessage]) -> Vec<u128> {
        messages.iter().map(|message| message.id.0).collect()
    }

    const ALL: BatchRoom = BatchRoom { messages_max: 64, bytes_max: 1 << 20 };

    #[test]
    fn the_most_urgent_lane_goes_first_and_each_keeps_its_order() {
        let mut mailbox = mailbox(10);
        for (id, channel) in [(1, Channel::Data), (2, Channel::Events), (3, Channel::Control), (4, Channel::Events)] {
            mailbox.push(message(id, channel, 0));
        }
        assert_eq!(ids(&mailbox.take(ALL)), [3, 2, 4, 1]);
    }

    #[test]
    fn promises_take_room_and_give_it_back() {
        let mut mailbox = mailbox(2);
        assert_eq!(mailbox.reserve(Channel::Events, 1), Ok(()));
        assert_eq!(mailbox.reserve(Channel::Events, 1), Ok(()));
        assert_eq!(mailbox.reserve(Channel::Events, 1), Err(Full));
        mailbox.give_back(1);
        assert_eq!(mailbox.reserve(Channel::Events, 1), Ok(()));
        assert_eq!(mailbox.promised(), 2);
    }

    #[test]
    fn places_ahead_leave_room_for_others_and_are_given_back() {
        let mut mailbox = mailbox(100);
        assert_eq!(mailbox.reserve_ahead(70, 10), 70);
        assert_eq!(mailbox.reserve_ahead(10, 10), 0);
        assert!((0..30).all(|_| mailbox.reserve(Channel::Events, 1).is_ok()));
        assert_eq!(mailbox.reserve(Channel::Events, 1), Err(Full));
        mailbox.give_back_ahead(70, 700);
        assert_eq!(mailbox.promised(), 30);
        assert_eq!(mailbox.reserve_ahead(1, 2 << 20), 0);
    }

    #[test]
    fn it_is_roomy_from_an_eighth_free() {
        let mut mailbox = mailbox(16);
        for _ in 0..15 {
            mailbox.reserve(Channel::Events, 1).unwrap();
        }
        assert!(!mailbox.is_roomy());
        mailbox.give_back(1);
        assert!(mailbox.is_roomy());
    }

    #[test]
    fn telemetry_makes_room_by_dropping_its_oldest() {
        let mut mailbox = mailbox(2);
        let mut dropped = 0;
        for id in 1..=5 {
            mailbox.reserve(Channel::Telemetry, 128).unwrap();
            dropped += mailbox.push_promised(message(id, Channel::Telemetry, 0), 128);
        }
        assert_eq!(dropped, 3);
        assert_eq!(ids(&mailbox.take(ALL)), [4, 5]);
    }

    #[test]
    fn a_batch_is_bounded_by_bytes_but_never_empty() {
        let mut mailbox = mailbox(10);
        mailbox.push(message(1, Channel::Events, 5_000));
        mailbox.push(message(2, Channel::Events, 10));
        let small = BatchRoom { messages_max: 64, bytes_max: 1_000 };
        assert_eq!(ids(&mailbox.take(small)), [1]);
        assert_eq!(ids(&mailbox.take(small)), [2]);
    }

    #[test]
    fn nothing_less_urgent_goes_before_a_message_that_the_batch_has_no_room_for() {
        let mut mailbox = mailbox(10);
        mailbox.push(message(1, Channel::Control, 10));
        mailbox.push(message(2, Channel::Control, 5_000));
        mailbox.push(message(3, Channel::Events, 10));
        let small = BatchRoom { messages_max: 64, bytes_max: 1_000 };
        assert_eq!(ids(&mailbox.take(small)), [1]);
        assert_eq!(ids(&mailbox.take(small)), [2]);
        assert_eq!(ids(&mailbox.take(small)), [3]);
        assert!(mailbox.is_empty());
    }

    #[test]
    fn the_bound_that_is_in_the_way_is_the_scarcest() {
        let mut mailbox = Mailbox::new(Room { messages_max: 2, bytes_max: 1_000 });
        mailbox.reserve(Channel::Events, 700).unwrap();
        assert!(mailbox.reserve(Channel::Events, 400).is_err());
        assert_eq!(mailbox.scarcest(400), (Limit::MailboxBytes, 1_000));
        mailbox.reserve(Channel::Events, 128).unwrap();
        assert!(mailbox.reserve(Channel::Events, 128).is_err());
        assert_eq!(mailbox.scarcest(128), (Limit::MailboxMessages, 2));
    }

    proptest! {
        #[test]
        fn what_is_put_back_comes_again_in_its_old_order(
            channels in proptest::collection::vec(0u8..4, 1..40), batch in 1u32..40
        ) {
            let mut mailbox = mailbox(1_000);
            for (id, channel) in channels.iter().enumerate() {
                mailbox.push(message(id as u128, Channel::from_number(*channel).unwrap(), 8));
            }
            let room = BatchRoom { messages_max: batch, bytes_max: 1 << 20 };
            let first = mailbox.take(room);
            let expected = ids(&first);
            mailbox.put_back(first);
            prop_assert_eq!(mailbox.waiting() as usize, channels.len());
            prop_assert_eq!(ids(&mailbox.take(room)), expected);
        }
    }
}
