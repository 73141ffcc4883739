//! The bus of a host that is alone: a tree of patterns behind a lock. Never reaches beyond its process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use skep_core::AgentId;
use skep_core::topic::Topics;

use crate::bus::Bus;
use crate::error::Error;

/// A [`Topics`] that many threads share: publishers at the same time, a change of a subscription alone.
#[derive(Debug, Default)]
pub struct LocalBus {
    topics: RwLock<Topics<AgentId>>,
    /// Counts the changes.
    version: AtomicU64,
}

impl LocalBus {
    /// Another number after each change of any subscription.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// What anybody is subscribed to, each pattern once, at most so many.
    pub fn patterns(&self, count_max: usize) -> Vec<Arc<str>> {
        self.topics.read().patterns(count_max)
    }

    fn changed(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bus for LocalBus {
    fn subscribe(&self, pattern: &str, agent: AgentId) -> Result<bool, Error> {
        let is_new = self.topics.write().subscribe(pattern, agent)?;
        self.changed();
        Ok(is_new)
    }

    fn unsubscribe(&self, pattern: &str, agent: AgentId) -> bool {
        let was = self.topics.write().unsubscribe(pattern, agent);
        self.changed();
        was
    }

    fn remove(&self, agent: AgentId) -> usize {
        let count = self.topics.write().remove(agent);
        self.changed();
        count
    }

    fn subscribers(&self, topic: &str, found: &mut Vec<AgentId>) {
        self.topics.read().matching(topic, found);
    }

    fn patterns_of(&self, agent: AgentId) -> Vec<Arc<str>> {
        self.topics.read().patterns_of(agent).cloned().collect()
    }

    fn count(&self, agent: AgentId) -> usize {
        self.topics.read().count(agent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: AgentId = AgentId(1);
    const B: AgentId = AgentId(2);

    fn subscribers(bus: &dyn Bus, topic: &str) -> Vec<AgentId> {
        let mut found = vec![AgentId::OUTSIDE];
        bus.subscribers(topic, &mut found);
        found
    }

    #[test]
    fn subscribers_are_found_until_they_end_it() {
        let bus = LocalBus::default();
        assert_eq!(bus.subscribe("orders.*", B), Ok(true));
        assert_eq!(bus.subscribe("orders.>", A), Ok(true));
        assert_eq!(bus.subscribe("orders.new", A), Ok(true));
        assert_eq!(bus.subscribe("orders.new", A), Ok(false));
        assert_eq!(subscribers(&bus, "orders.new"), [A, B]);
        assert_eq!(bus.patterns_of(A).iter().map(|pattern| &**pattern).collect::<Vec<_>>(), ["orders.>", "orders.new"]);
        assert_eq!((bus.count(A), bus.count(B)), (2, 1));
        assert!(bus.unsubscribe("orders.*", B));
        assert!(!bus.unsubscribe("orders.*", B));
        assert_eq!(subscribers(&bus, "orders.new"), [A]);
        assert_eq!(bus.remove(A), 2);
        assert_eq!(subscribers(&bus, "orders.new"), []);
    }

    #[test]
    fn refuses_a_bad_pattern_with_its_code() {
        let error = LocalBus::default().subscribe("a..b", A).unwrap_err();
        assert_eq!(error.code(), "E_BAD_TOPIC");
        assert_eq!(error.to_string(), "a..b is not a topic pattern: a word is empty");
    }

    #[test]
    fn works_when_threads_publish_while_others_subscribe() {
        let bus = LocalBus::default();
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let bus = &bus;
                scope.spawn(move || {
                    for round in 0..200 {
                        let agent = AgentId(thread * 1_000 + round);
                        bus.subscribe("a.>", agent).unwrap();
                        assert!(subscribers(bus, "a.b").contains(&agent));
                        if round % 2 == 0 {
                            bus.remove(agent);
                        }
                    }
                });
            }
        });
        assert_eq!(subscribers(&bus, "a.b").len(), 4 * 100);
    }
}
