//! What the other hosts say of themselves: who is up, which agents they have, what those are subscribed to. Never asked for
//! on the way of a message: it is kept up to date as it is heard.

use std::collections::{BTreeMap, HashMap};

use parking_lot::RwLock;
use skep_bus::{Bus, LocalBus};
use skep_core::{AgentId, Name};

/// Names of other hosts' agents that are remembered. Beyond it the ones that are new are not found.
const NAMES_MAX: usize = 1_000_000;

/// See the module.
#[derive(Default)]
pub(crate) struct Peers {
    hosts: RwLock<BTreeMap<Name, Peer>>,
    names: RwLock<HashMap<Name, Name>>,
    /// Hosts by what their agents are subscribed to: the number of each is that of its subscribers.
    pub(super) topics: LocalBus,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub(super) up: bool,
    pub(super) since_ms: u64,
    /// Names that it holds.
    pub(super) agents: u32,
    pub(super) received: u64,
    started_ms: u64,
}

impl Peers {
    /// The host that has an agent of this name, whether it is up or not.
    pub(super) fn host_of(&self, name: &Name) -> Option<Name> {
        self.names.read().get(name).cloned()
    }

    pub(super) fn held(&self, name: Name, host: Name) {
        let mut names = self.names.write();
        if names.len() >= NAMES_MAX && !names.contains_key(&name) {
            return;
        }
        let before = names.insert(name, host.clone());
        let mut hosts = self.hosts.write();
        if let Some(peer) = before.and_then(|before| hosts.get_mut(&before)) {
            peer.agents = peer.agents.saturating_sub(1);
        }
        hosts.entry(host).or_default().agents += 1;
    }

    /// Returns the host that had it.
    pub(super) fn freed(&self, name: &Name) -> Option<Name> {
        let host = self.names.write().remove(name)?;
        if let Some(peer) = self.hosts.write().get_mut(&host) {
            peer.agents = peer.agents.saturating_sub(1);
        }
        Some(host)
    }

    pub(super) fn is_up(&self, host: &Name) -> bool {
        self.hosts.read().get(host).is_some_and(|peer| peer.up)
    }

    /// Whether a host was heard of and is gone.
    pub(super) fn is_gone(&self, host: &Name) -> bool {
        self.hosts.read().get(host).is_some_and(|peer| !peer.up && peer.since_ms > 0)
    }

    /// A host is up or gone; says whether that is news.
    /// `started_ms`: when it started, if it is up.
    pub(super) fn heard(&self, host: &Name, started_ms: Option<u64>, now_ms: u64) -> bool {
        let up = started_ms.is_some();
        let mut hosts = self.hosts.write();
        let peer = hosts.entry(host.clone()).or_default();
        let is_another =
            started_ms.is_some_and(|started_ms| std::mem::replace(&mut peer.started_ms, started_ms) != started_ms);
        let is_news = peer.up != up || is_another;
        if is_news {
            peer.since_ms = now_ms;
        }
        peer.up = up;
        is_news
    }

    pub(super) fn received(&self, messages: HashMap<Name, u64>) {
        let mut hosts = self.hosts.write();
        for (host, count) in messages {
            hosts.entry(host).or_default().received += count;
        }
    }

    pub(super) fn all(&self) -> BTreeMap<Name, Peer> {
        self.hosts.read().clone()
    }

    /// What the subscribers of a host listen to, in place of what they did.
    pub(super) fn subscribed(&self, subscribers: AgentId, patterns: &[String]) {
        self.topics.remove(subscribers);
        for pattern in patterns {
            // A pattern that is none here is one of another version: nothing is published to it.
            let _ = self.topics.subscribe(pattern, subscribers);
        }
    }
}
