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
}

impl Asks {
    /// An ask has left.
    pub fn opened(&mut self, ask: MessageId, open: OpenAsk) {
        self.open.insert(ask, open);
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

    /// Whether the reply is owed.
    pub fn owes(&self, ask: MessageId) -> bool {
        self.owed.contains_key(&ask)
    }

    /// The reply has been given, or nobody waits for it any more.
    pub fn settle(&mut self, ask: MessageId) -> Option<Owed> {
        self.owed.remove(&ask)
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
    fn overdue_replies_are_forgotten_unless_a_client_may_come_back() {
        let mut asks = Asks::default();
        asks.owe(MessageId(1), owed(10, None));
        asks.owe(MessageId(2), owed(10, Some(MessageId(9))));
        asks.owe(MessageId(3), owed(99, None));
        assert_eq!(asks.settle_overdue(50), [MessageId(1)]);
        assert_eq!(asks.owed_count(), 2);
    }
}
