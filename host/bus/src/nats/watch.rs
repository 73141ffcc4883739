//! Watches the bucket, and tells what changed in it. Never writes.

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use futures_util::StreamExt;
use skep_core::Name;

use super::address::{Addresses, Key};
use super::gate::{Gate, Ground};
use super::names::Names;
use super::node::{Lease, Node};
use super::pace::Pauses;
use super::word::{Teller, Word};

/// Watches for one host.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) host: Name,
    pub(super) addresses: Arc<Addresses>,
    pub(super) gate: Gate,
    pub(super) names: Arc<Names>,
    pub(super) teller: Teller,
    /// The other hosts, and the round in which each was seen last.
    pub(super) nodes: HashMap<Name, (Node, u64)>,
}

impl Watcher {
    /// Watches whenever there is a bucket to watch.
    pub(super) async fn watch(mut self) {
        let mut pauses = Pauses::default();
        loop {
            let ground = self.gate.open().await;
            let gate = self.gate.clone();
            let ended = tokio::select! {
                ended = self.follow(&ground, &mut pauses) => ended,
                () = gate.left(ground.round) => continue,
            };
            if let Err(why) = ended {
                self.teller.trouble(format!("the bucket of the hive cannot be watched: {why}"));
            }
            pauses.next().await;
        }
    }

    /// First all that is there, then what changes. What was there before and is not any more is told as gone.
    async fn follow(&mut self, ground: &Ground, pauses: &mut Pauses) -> Result<(), String> {
        let config = OrderedConfig {
            filter_subject: self.addresses.entry(">"),
            deliver_policy: DeliverPolicy::LastPerSubject,
            ..OrderedConfig::default()
        };
        let consumer = ground.store.stream.create_consumer(config).await.map_err(|error| error.to_string())?;
        let mut left = consumer.cached_info().num_pending;
        let mut messages = consumer.messages().await.map_err(|error| error.to_string())?;
        pauses.reset();
        let round = self.names.next_look();
        if left == 0 {
            self.settle(round, ground).await;
        }
        while let Some(message) = messages.next().await {
            let message = message.map_err(|error| error.to_string())?;
            let info = message.info().map_err(|error| error.to_string())?;
            let (revision, pending) = (info.stream_sequence, info.pending);
            self.saw(&message, revision, round).await;
            if left > 0 {
                left = if pending == 0 { 0 } else { left - 1 };
                if left == 0 {
                    self.settle(round, ground).await;
                }
            }
        }
        Ok(())
    }

    async fn saw(&mut self, message: &Message, revision: u64, round: u64) {
        let is_gone = message.headers.as_ref().is_some_and(|headers| {
            headers.get("KV-Operation").is_some_and(|operation| operation.as_str() != "PUT")
                || headers.get("Nats-Marker-Reason").is_some()
        });
        match self.addresses.key_of(&message.subject) {
            Some(Key::Host(host)) if host == self.host => {}
            Some(Key::Host(host)) if is_gone => self.lost_node(host).await,
            Some(Key::Host(host)) => self.saw_node(host, &message.payload, round).await,
            Some(Key::Name(name)) => {
                let holder = str::from_utf8(&message.payload).ok().and_then(|text| Name::new(text).ok());
                let words = match holder {
                    Some(holder) if !is_gone => self.names.held(&name, &holder, revision, round),
                    _ => self.names.gone(&name, revision, round),
                };
                self.tell(words).await;
            }
            None => {}
        }
    }

    async fn lost_node(&mut self, host: Name) {
        if self.nodes.remove(&host).is_some() {
            self.teller.tell(Word::Node { host, node: None }).await;
        }
    }

    async fn saw_node(&mut self, host: Name, value: &[u8], round: u64) {
        let Ok(lease) = serde_json::from_slice::<Lease>(value) else {
            self.teller.trouble(format!("the lease of {host} is not understood: another version of Skep?"));
            return;
        };
        let node = lease.node();
        let before = self.nodes.insert(host.clone(), (node.clone(), round));
        if before.is_none_or(|(before, _)| before != node) {
            self.teller.tell(Word::Node { host, node: Some(node) }).await;
        }
    }

    /// All that is in the bucket has been seen.
    async fn settle(&mut self, round: u64, ground: &Ground) {
        let gone: Vec<Name> =
            self.nodes.iter().filter(|(_, (_, seen))| *seen != round).map(|(host, _)| host.clone()).collect();
        for host in gone {
            self.lost_node(host).await;
        }
        let words = self.names.settle(round, ground.round);
        self.tell(words).await;
    }

    async fn tell(&self, words: Vec<Word>) {
        for word in words {
            self.teller.tell(word).await;
        }
    }
}
