//! The seam between a host and whatever tells it who is subscribed. Never a queue: a message waits in a mailbox.

use std::sync::Arc;

use skep_core::AgentId;

use crate::error::Error;

/// Who is subscribed to what. A publisher asks for the subscribers and sends to each: so a published message has its
/// place reserved, is part of its turn's commit and is as durable as its two ends, as every other message.
///
/// Every method returns at once and has taken effect then. Whoever also reaches other hosts makes the interest of this
/// one known to them, and finds the subscribers of what arrives from them as it does for what is published here.
pub trait Bus: Send + Sync {
    /// Subscribes an agent to a pattern; false if it is subscribed to exactly this one already.
    fn subscribe(&self, pattern: &str, agent: AgentId) -> Result<bool, Error>;

    /// Ends the subscription to exactly this pattern; false if there is none.
    fn unsubscribe(&self, pattern: &str, agent: AgentId) -> bool;

    /// Ends all subscriptions of an agent, and says how many there were.
    fn remove(&self, agent: AgentId) -> usize;

    /// Puts the agents of this host whose patterns stand for the topic into `found`, in place of what was there: each
    /// once, ascending. What is not a valid topic is nobody's.
    fn subscribers(&self, topic: &str, found: &mut Vec<AgentId>);

    /// The patterns of an agent, in order.
    fn patterns_of(&self, agent: AgentId) -> Vec<Arc<str>>;

    /// How many patterns an agent has: they count against its budget of handles.
    fn count(&self, agent: AgentId) -> usize;
}
