//! What the server says, and what this host says of itself. Never a message between agents.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use skep_bus::nats::{Lane, Node, Word};
use skep_core::event::What;
use skep_core::{ExitReason, Name};
use skep_store::Write;
use tokio::sync::mpsc;

use super::Cluster;
use super::remote::Remote;
use super::wire::Confirmation;
use crate::hive::Hive;

/// How often what this host says of itself is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Patterns that a host says its agents are subscribed to; with more it is everything.
const PATTERNS_MAX: usize = 1_024;

/// Hears what the server says until the hive is gone.
pub(super) async fn run(hive: Weak<Hive>, mut words: mpsc::Receiver<Word>) {
    while let Some(word) = words.recv().await {
        let Some(hive) = hive.upgrade() else { return };
        if let Some(cluster) = hive.cluster.get() {
            cluster.hear(&hive, word);
        }
    }
}

/// Says what has changed of this host until the hive is gone.
pub(super) async fn speak(hive: Weak<Hive>) {
    let mut said = None;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        let Some(hive) = hive.upgrade().filter(|hive| !hive.is_closed()) else { return };
        let Some(cluster) = hive.cluster.get() else { return };
        let agents = hive.directory.count() as u32;
        let now = (hive.bus.version(), agents);
        if said != Some(now) {
            said = Some(now);
            let mut patterns = hive.bus.patterns(PATTERNS_MAX + 1);
            if patterns.len() > PATTERNS_MAX {
                patterns = vec![">".into()];
            }
            let patterns = patterns.iter().map(ToString::to_string).collect();
            cluster.nats.say(Node { started_ms: hive.started_ms, agents, patterns });
        }
    }
}

impl Cluster {
    fn hear(&self, hive: &Arc<Hive>, word: Word) {
        match word {
            Word::Connected { lane } => self.reached(hive, lane, None),
            Word::Lost { lane, why } => self.reached(hive, lane, Some(why)),
            Word::Node { host, node } => self.hear_node(hive, &host, node),
            Word::NameHeld { name, host } => {
                self.peers.held(name.clone(), host.clone());
                hive.bus_event(What::NameSeen { name, by: host });
            }
            Word::NameFree { name } => {
                if let Some(host) = self.peers.freed(&name) {
                    self.ended(hive, Remote { host, agent: Some(name) });
                }
            }
            Word::NameTaken { name, by } => hive.bus_event(What::NameTaken { name, by }),
            Word::HostTaken { why } => hive.bus_event(What::HostTaken { why }),
            Word::Confirmed { from, lane, body } => self.hear_confirmation(hive, from, lane, &body),
            Word::Trouble { what } => hive.bus_event(What::BusTrouble { what }),
        }
    }

    /// The server is reached on a lane, or lost, and why.
    fn reached(&self, hive: &Arc<Hive>, lane: Lane, lost: Option<String>) {
        let is_news = {
            let mut reached = self.reached.lock();
            let is_news = if lost.is_none() { reached.lanes.insert(lane) } else { reached.lanes.remove(&lane) };
            if is_news {
                reached.since_ms = hive.clock.wall_ns() / 1_000_000;
            }
            is_news
        };
        if lost.is_none() {
            self.links_to(None).iter().filter(|link| link.lane == lane).for_each(|link| link.send_again());
        }
        if is_news {
            let lane = lane.name();
            hive.bus_event(lost.map_or(What::BusConnected { lane }, |why| What::BusLost { lane, why }));
        }
    }

    fn hear_node(&self, hive: &Arc<Hive>, host: &Name, node: Option<Node>) {
        let now_ms = hive.clock.wall_ns() / 1_000_000;
        let is_news = self.peers.heard(host, node.as_ref().map(|node| node.started_ms), now_ms);
        match node {
            Some(node) => {
                if let Some(subscribers) = Self::id_of(hive, Remote { host: host.clone(), agent: None }) {
                    self.peers.subscribed(subscribers, &node.patterns);
                }
                if is_news {
                    hive.bus_event(What::HostUp { host: host.clone() });
                    for link in self.links_to(Some(host)) {
                        link.send_again();
                    }
                }
            }
            None if is_news => {
                hive.bus_event(What::HostGone { host: host.clone() });
                let reason = ExitReason::Error(format!("host {host} is gone"));
                for id in hive.directory.remotes.of_host(host) {
                    hive.remote_ended(id, &reason);
                }
            }
            None => {}
        }
    }

    fn ended(&self, hive: &Arc<Hive>, remote: Remote) {
        if let Some(id) = hive.directory.remotes.known(&remote) {
            hive.remote_ended(id, &ExitReason::NoAgent);
        }
    }

    fn begin_anew(&self, hive: &Arc<Hive>, host: &Name) {
        let what = format!("host {host} has messages that this data directory does not: it goes on as a new one");
        hive.bus_event(What::BusTrouble { what });
        self.journal.store(super::journal::renew(hive), Ordering::Relaxed);
        self.links_to(None).iter().for_each(|link| link.send_again());
    }

    fn hear_confirmation(&self, hive: &Arc<Hive>, from: Name, lane: Lane, body: &skep_core::Bytes) {
        let Some(confirmation) = Confirmation::from_bytes(body) else { return };
        // One that is of another journal is of another life of the directory.
        if confirmation.journal != self.journal() {
            return;
        }
        let Some(link) = self.links.read().get(&(from, lane)).cloned() else { return };
        // The other host has what this journal has not: it is a copy from before. Under the same number the other host would
        // leave out all that comes now.
        if hive.committer.as_ref().is_some_and(|committer| confirmation.upto().row > committer.last_row()) {
            return self.begin_anew(hive, &link.host);
        }
        let rows = link.confirm(confirmation.upto(), confirmation.gap, hive.clock.monotonic_ns());
        hive.commit_later(rows.into_iter().map(|row| Write::TakeMessage { row }).collect());
    }
}
