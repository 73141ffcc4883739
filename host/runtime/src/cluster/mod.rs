//! Many hosts as one hive: agents of other hosts are addressed by name, and what is for them waits here until their host
//! has it in its own journal. Never how it travels: that is the bus.
//!
//! A link leads from one host to another, on a lane. Its sending end is [`link`], its receiving end [`inbox`]; what is
//! decided about both is in the core's outbox. Agents of other hosts have numbers here ([`remote`]), so that all that is
//! kept by number (messages, asks, replies owed) is kept the same way wherever the other agent is.

mod ears;
mod inbox;
mod journal;
mod link;
mod peers;
mod remote;
mod view;
mod wire;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard, RwLock};
use skep_bus::Bus;
use skep_bus::nats::{Ears, Lane, Managed, Nats, Options};
use skep_core::event::What;
use skep_core::outbox::Place;
use skep_core::{AgentId, AskFailure, BoxedMessage, Channel, Class, ExitReason, Name, SendError};
use skep_store::Error as StoreError;

use self::inbox::MarkBook;
pub(crate) use self::link::Link;
use self::peers::Peers;
pub(crate) use self::remote::{Remote, Remotes, number_of};
pub use self::view::{ClusterOptions, NatsServer, NodeState, NodeView, OutboxView};
use crate::cell::Cell;
use crate::error::Error;
use crate::hive::Hive;

/// What a host's lease lasts, in seconds: that of one that is gone is noticed after so long.
const LEASE_S: u32 = 5;
/// What a message may take beside its weight on its way: headers with every character escaped, names, ids.
const FRAME_MARGIN_BYTES: usize = 64 << 10;

/// See the module.
pub(crate) struct Cluster {
    pub(crate) host: Name,
    nats: Nats,
    ears: Mutex<Option<Ears>>,
    /// The server that this host has started.
    server: Mutex<Option<Managed>>,
    peers: Peers,
    links: RwLock<HashMap<(Name, Lane), Arc<Link>>>,
    marks: Mutex<MarkBook>,
    /// Held while the rows of what goes to other hosts are given and their commit is queued: so they ascend in the order
    /// of the commits, which is that of the links.
    order: Mutex<()>,
    /// Which journal this host's rows are of: one more random than anybody has by accident.
    journal: AtomicU64,
    /// Rows of this life of the host come after it.
    first_row: u64,
    reached: Mutex<Reached>,
}

/// Whether the server is reached, on each lane, and since when that is so.
#[derive(Default)]
struct Reached {
    lanes: HashSet<Lane>,
    since_ms: u64,
}

impl Cluster {
    /// Turns to the server. Whether it is there or not, the host goes on.
    pub(crate) async fn connect(hive: &Arc<Hive>, options: ClusterOptions) -> Result<Self, Error> {
        let of_journal = hive.clone();
        let begun = tokio::task::spawn_blocking(move || journal::begin(&of_journal)).await;
        let begun = begun.map_err(|_| Error::Stopping)??;
        let (url, server) = match options.nats {
            NatsServer::Url(url) => (url, None),
            NatsServer::Managed => {
                let dir = hive.data_dir.clone().ok_or_else(|| {
                    Error::Spec(vec!["a NATS server of the host's own needs a data directory".to_owned()])
                })?;
                let started = tokio::task::spawn_blocking(move || Managed::start(&dir.join("nats"))).await;
                let server = started.map_err(|_| Error::Stopping)??;
                (server.url().to_owned(), Some(server))
            }
        };
        let host = options.host;
        let instance = begun.is_kept.then(|| format!("{:016x}", begun.journal));
        let options = Options { url, hive: hive.spec.name.clone(), host: host.clone(), instance, lease_s: LEASE_S };
        let (nats, ears) = Nats::connect(options).await?;
        Ok(Self {
            host,
            nats,
            ears: Mutex::new(Some(ears)),
            server: Mutex::new(server),
            peers: Peers::default(),
            links: RwLock::default(),
            marks: Mutex::default(),
            order: Mutex::default(),
            journal: AtomicU64::new(begun.journal),
            first_row: begun.first_row,
            reached: Mutex::default(),
        })
    }

    /// Takes in what the store has of other hosts. Before any agent is there.
    pub(crate) fn load(&self, hive: &Hive) -> Result<(), StoreError> {
        let Some(store) = hive.store() else { return Ok(()) };
        crate::boot::each_record(&store, skep_store::Space::Hive, AgentId::OUTSIDE, |entry| {
            if let Some(id) =
                hive.directory.remotes.load(&entry.key, &entry.value).map_err(|error| error.to_string())?
            {
                hive.directory.taken_up_to(id);
            }
            self.marks.lock().load(&entry.key, &entry.value).map(drop)
        })
    }

    /// From now on what comes is taken, and what waits is sent.
    pub(crate) fn open(&self, hive: &Arc<Hive>) {
        // What the store had waiting has the places of its rows; what comes now is after it.
        let first = Place { row: self.first_row, sub: 0 };
        for link in self.links.read().values() {
            link.started(first);
        }
        if let Some(ears) = self.ears.lock().take() {
            let Ears { words, control, data } = ears;
            let handle = hive.scheduler.handle();
            handle.spawn(ears::run(Arc::downgrade(hive), words));
            handle.spawn(inbox::run(Arc::downgrade(hive), Lane::Control, control));
            handle.spawn(inbox::run(Arc::downgrade(hive), Lane::Data, data));
            handle.spawn(ears::speak(Arc::downgrade(hive)));
        }
    }

    fn journal(&self) -> u64 {
        self.journal.load(Ordering::Relaxed)
    }

    /// Held from giving rows to what goes to other hosts until their commit is queued.
    pub(crate) fn order(&self) -> MutexGuard<'_, ()> {
        self.order.lock()
    }

    /// The number of an agent of another host.
    fn id_of(hive: &Hive, remote: Remote) -> Option<AgentId> {
        let keep = |write| hive.commit_later(vec![write]);
        let id = hive.directory.remotes.id_of(remote, || hive.directory.next_id(), keep);
        if id.is_none() {
            hive.bus_event(What::BusTrouble { what: "there are too many agents of other hosts".to_owned() });
        }
        id
    }

    /// Whether an agent of another host is there, as far as is known: of one that nothing was heard of yet it is thought.
    pub(crate) fn is_there(&self, hive: &Hive, id: AgentId) -> bool {
        let Some(remote) = hive.directory.remotes.get(id) else { return false };
        let held = remote.agent.as_ref().and_then(|name| self.peers.host_of(name));
        match held {
            Some(host) => host == remote.host && !self.peers.is_gone(&host),
            None => !self.peers.is_up(&remote.host) && !self.peers.is_gone(&remote.host),
        }
    }

    /// The agent of this name on another host: of the one that has said that it has it, or had when that was last heard.
    pub(crate) fn resolve(&self, hive: &Hive, name: &Name) -> Option<AgentId> {
        match self.peers.host_of(name) {
            Some(host) => Self::id_of(hive, Remote { host, agent: Some(name.clone()) }),
            None => hive.directory.remotes.named(name),
        }
    }

    /// The subscribers of other hosts to a topic, a number a host.
    pub(crate) fn subscribers(&self, topic: &str) -> Vec<AgentId> {
        let mut found = Vec::new();
        self.peers.topics.subscribers(topic, &mut found);
        found
    }

    /// What a message may weigh on its way, in bytes. Before the server has said what it takes, it is not known.
    pub(crate) fn weight_bytes_max(&self) -> usize {
        let has_said = self.reached.lock().since_ms > 0;
        if has_said { self.nats.frame_bytes_max().saturating_sub(FRAME_MARGIN_BYTES) } else { usize::MAX }
    }

    /// The link to the host of an agent, for messages of a channel; none if it is no agent of another host.
    pub(crate) fn link_of(&self, hive: &Arc<Hive>, to: AgentId, channel: Channel) -> Option<Arc<Link>> {
        let host = hive.directory.remotes.get(to)?.host;
        Some(self.link(&Arc::downgrade(hive), host, Lane::of(channel)))
    }

    fn link(&self, hive: &Weak<Hive>, host: Name, lane: Lane) -> Arc<Link> {
        let key = (host, lane);
        if let Some(link) = self.links.read().get(&key) {
            return link.clone();
        }
        let mut links = self.links.write();
        if let Some(link) = links.get(&key) {
            return link.clone();
        }
        // Of those that the store has something for, rows come first: `open` says where the new ones begin.
        let last = if self.ears.lock().is_some() { 0 } else { self.first_row };
        let link = Arc::new(Link::new(key.0.clone(), lane, Place { row: last, sub: 0 }));
        if let Some(hive) = hive.upgrade() {
            hive.scheduler.handle().spawn(link::run(Arc::downgrade(&hive), link.clone()));
        }
        links.insert(key, link.clone());
        link
    }

    fn links_to(&self, host: Option<&Name>) -> Vec<Arc<Link>> {
        let links = self.links.read();
        links.values().filter(|link| host.is_none_or(|host| link.host == *host)).cloned().collect()
    }

    /// Gives the lease up: the others need not wait for its end.
    pub(crate) async fn close(&self) {
        self.nats.close().await;
        self.server.lock().take();
        for link in self.links_to(None) {
            link.send_again();
        }
    }

    /// All hosts, this one first.
    pub(crate) fn nodes(&self, hive: &Hive) -> Vec<NodeView> {
        let now_ns = hive.clock.wall_ns();
        let (since_ms, connected) = {
            let reached = self.reached.lock();
            (reached.since_ms, reached.lanes.len() == Lane::ALL.len())
        };
        let here = NodeView {
            host: self.host.clone(),
            state: NodeState::Here,
            since_ms,
            agents: hive.directory.count() as u32,
            outbox: OutboxView::default(),
            received: 0,
            connected,
        };
        let mut peers = self.peers.all();
        for link in self.links_to(None) {
            peers.entry(link.host.clone()).or_default();
        }
        let others = peers.into_iter().map(|(host, peer)| {
            let outboxes = self.links_to(Some(&host)).into_iter().map(|link| link.view(now_ns));
            NodeView {
                state: if peer.up { NodeState::Up } else { NodeState::Gone },
                since_ms: peer.since_ms,
                agents: peer.agents,
                outbox: outboxes.fold(OutboxView::default(), OutboxView::with),
                received: peer.received,
                connected: peer.up,
                host,
            }
        });
        std::iter::once(here).chain(others).collect()
    }
}

impl Hive {
    /// Whether a number is that of an agent of another host.
    pub(crate) fn is_remote(&self, id: AgentId) -> bool {
        self.cluster.get().is_some() && self.directory.remotes.has(id)
    }

    /// An agent of this host can be addressed from others from now on.
    pub(crate) fn hold_name(&self, cell: &Cell) {
        if let Some(cluster) = self.cluster.get() {
            cluster.nats.hold(cell.name.clone());
        }
    }

    /// It has ended for good, or is at rest: who watches it on other hosts hears of it.
    pub(crate) fn free_name(&self, cell: &Cell) {
        if let Some(cluster) = self.cluster.get() {
            cluster.nats.free(&cell.name);
        }
    }

    /// The link to the host of an agent, if it is one of another host.
    pub(crate) fn link_of(self: &Arc<Self>, to: AgentId, channel: Channel) -> Option<Arc<Link>> {
        self.cluster.get()?.link_of(self, to, channel)
    }

    /// Puts a message for another host into its outbox; or gives it back, if it is for nobody there.
    pub(crate) fn send_away(
        self: &Arc<Self>,
        to: AgentId,
        mut message: BoxedMessage,
        promised_bytes: Option<usize>,
    ) -> Result<(), BoxedMessage> {
        let Some(link) = self.link_of(to, message.channel) else { return Err(message) };
        let weight_bytes_max = self.cluster.get().map_or(0, Cluster::weight_bytes_max);
        if message.weight_bytes() > weight_bytes_max {
            // Whoever asked is told in its place.
            if let Class::Answer { failure, .. } = &mut message.class {
                let bytes_max = u32::try_from(weight_bytes_max).unwrap_or(u32::MAX);
                let too_large = AskFailure::NotSent(SendError::TooLarge(bytes_max));
                (message.body, message.rare) = (too_large.to_string().into(), None);
                *failure = Some(Box::new(too_large));
            } else {
                promised_bytes.into_iter().for_each(|promised_bytes| link.give_back(promised_bytes));
                return Err(message);
            }
        }
        link.push(to, message, promised_bytes, self.clock.wall_ns());
        Ok(())
    }

    /// An agent of another host is not there any more, or its host is not.
    fn remote_ended(self: &Arc<Self>, id: AgentId, reason: &ExitReason) {
        crate::links::ended_elsewhere(self, id, reason);
    }

    fn bus_event(&self, what: What) {
        self.emit(&Default::default(), what);
    }
}
