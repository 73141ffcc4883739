//! The asks that an agent has open and the replies that it owes. Each ask ends exactly once; what comes after its end
//! is told apart and dropped by the caller, who counts it.

use crate::id::{AgentId, IdMap, MessageId};
use crate::message::Channel;

/// An ask that waits for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenAsk {
    /// Who was asked.
    pub to: AgentId,
    /// When the wait ends, nanoseconds since 1970.
    pub deadline_ns: u64,
    /// The lane of the ask, and of its answer.
    pub channel: Channel,
}

/// A reply that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Who asked.
    pub asker: AgentId,
    /// When the asker stops waiting, nanoseconds since 1970.
    pub deadline_ns: u64,
    /// The lane of the answer.
    pub channel: Channel,
    /// The asker is blocked in a call.
    pub blocking: bool,
    /// The asker comes from outside with an id of its own, under which the reply is remembered.
    pub client_id: Option<MessageId>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Asks {
    open: IdMap<MessageId, OpenAsk>,
    owed: IdMap<MessageId, Owed>,
    /// When the deadlines are looked at next.
    look_ns: Option<u64>,
}

/// Deadlines are looked at no more often than this: with many of them, one may be noticed so much later.
const LOOK_EVERY_NS: u64 = 1_000_000;

impl Asks {
    /// An ask has left. Says when [`Asks::overdue`] is to be called, if that is earlier than was said before: so who asks
    /// again and again costs no alarm for each.
    pub fn opened(&mut self, ask: MessageId, open: OpenAsk) -> Option<u64> {
        self.open.insert(ask, open);
        let earlier = self.look_ns.is_none_or(|look_ns| open.deadline_ns < look_ns);
        earlier.then(|| *self.look_ns.insert(open.deadline_ns))
    }

    /// When [`Asks::overdue`] is to be called.
    pub fn look_ns(&self) -> Option<u64> {
        self.look_ns
    }

    /// The asks whose deadline has passed, by their deadlines, and when this is to be called again. Ends none of them.
    pub fn overdue(&mut self, now_ns: u64) -> (Vec<MessageId>, Option<u64>) {
        if self.look_ns.is_none_or(|look_ns| now_ns < look_ns) {
            // Who came was told of an earlier time than that which holds now.
            return (Vec::new(), self.look_ns);
        }
        let mut overdue: Vec<(u64, MessageId)> = Vec::new();
        let mut next_ns = None;
        for (id, open) in &self.open {
            if open.deadline_ns <= now_ns {
                overdue.push((open.deadline_ns, *id));
            } else {
                next_ns = Some(next_ns.map_or(open.deadline_ns, |next_ns: u64| next_ns.min(open.deadline_ns)));
            }
        }
        overdue.sort_unstable();
        self.look_ns = next_ns.map(|next_ns| next_ns.max(now_ns.saturating_add(LOOK_EVERY_NS)));
        (overdue.into_iter().map(|(_, id)| id).collect(), self.look_ns)
    }

    /// Ends an ask. None: it has ended before.
    pub fn end(&mut self, ask: MessageId) -> Option<OpenAsk> {
        self.open.remove(&ask)
    }

    /// An ask that waits.
    pub fn get(&self, ask: MessageId) -> Option<OpenAsk> {
        self.open.get(&ask).copied()
    }

    /// Whether an ask waits.
    pub fn is_open(&self, ask: MessageId) -> bool {
        self.open.contains_key(&ask)
    }

    /// Asks that wait.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// The asks that wait, with their ends.
    pub fn open(&self) -> impl Iterator<Item = (MessageId, OpenAsk)> + '_ {
        self.open.iter().map(|(id, open)| (*id, *open))
    }

    /// An ask was handled and not yet answered.
    pub fn owe(&mut self, ask: MessageId, owed: Owed) {
        self.owed.insert(ask, owed);
    }

    /// If the reply is owed, it is owed to this asker from now on: the same one, who has asked again.
    pub fn owe_to(&mut self, ask: MessageId, owed: Owed) {
        if let Some(before) = self.owed.get_mut(&ask) {
            *before = owed;
        }
    }

    /// Whether the reply is owed.
    pub fn owes(&self, ask: MessageId) -> bool {
        self.owed.contains_key(&ask)
    }

    /// The reply has been given, or nobody waits for it any more.
    pub fn settle(&mut self, ask: MessageId) -> Option<Owed> {
        self.owed.remove(&ask)
    }

    /// The asks whose replies are owed.
    pub fn owed(&self) -> impl Iterator<Item = MessageId> + '_ {
        self.owed.keys().copied()
    }

    /// Replies that are owed.
    pub fn owed_count(&self) -> usize {
        self.owed.len()
    }

    /// Forgets replies that nobody waits for any more; what a client may ask for again is kept.
    pub fn settle_overdue(&mut self, now_ns: u64) -> Vec<MessageId> {
        let overdue: Vec<MessageId> = self
            .owed
            .iter()
            .filter(|(_, owed)| owed.deadline_ns < now_ns && owed.client_id.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in &overdue {
            self.owed.remove(id);
        }
        overdue
    }

    /// Everything that is owed, and no more: the agent has ended.
    pub fn settle_all(&mut self) -> Vec<(MessageId, Owed)> {
        self.owed.drain().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owed(deadline_ns: u64, client_id: Option<MessageId>) -> Owed {
        Owed { asker: AgentId(1), deadline_ns, channel: Channel::Events, blocking: false, client_id }
    }

    #[test]
    fn an_ask_ends_once() {
        let mut asks = Asks::default();
        asks.opened(MessageId(1), OpenAsk { to: AgentId(2), deadline_ns: 5, channel: Channel::Events });
        assert!(asks.end(MessageId(1)).is_some());
        assert!(asks.end(MessageId(1)).is_none());
    }

    #[test]
    fn deadlines_are_looked_at_when_the_earliest_has_passed() {
        let open = |deadline_ns| OpenAsk { to: AgentId(2), deadline_ns, channel: Channel::Events };
        let mut asks = Asks::default();
        assert_eq!(asks.opened(MessageId(1), open(5_000)), Some(5_000));
        assert_eq!(asks.opened(MessageId(2), open(9_000_000)), None);
        assert_eq!(asks.opened(MessageId(3), open(3_000)), Some(3_000));
        assert_eq!(asks.overdue(2_999), (Vec::new(), Some(3_000)));
        assert_eq!(asks.overdue(5_000), (vec![MessageId(3), MessageId(1)], Some(9_000_000)));
        // The alarm of the deadline that was replaced ends none.
        assert_eq!(asks.overdue(5_000), (Vec::new(), Some(9_000_000)));
        assert_eq!(asks.overdue(9_000_000).0.len(), 3);
        for id in 1..=3 {
            assert!(asks.end(MessageId(id)).is_some());
        }
        assert_eq!(asks.overdue(10_000_000), (Vec::new(), None));
        assert_eq!(asks.opened(MessageId(4), open(99)), Some(99));
    }

    #[test]
    fn overdue_replies_are_forgotten_unless_a_client_may_come_back() {
        let mut asks = Asks::default();
        asks.owe(MessageId(1), owed(10, None));
        asks.owe(MessageId(2), owed(10, Some(MessageId(9))));
        asks.owe(MessageId(3), owed(99, None));
        assert_eq!(asks.settle_overdue(50), [MessageId(1)]);
        assert_eq!(asks.owed_count(), 2);
    }
}
