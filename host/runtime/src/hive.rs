//! What the rooms of the runtime share: one value in a host, built once, never changed but through its parts.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use skep_bus::LocalBus;
use skep_core::clock::Clock;
use skep_core::event::What;
use skep_core::link::Links;
use skep_core::spec::{Durability, HiveSpec};
use skep_core::wait::WaitGraph;
use skep_core::{AgentId, Bytes, Digest, ExitReason, Name};
use skep_engine::Engine;
use skep_store::{Space, Store, Sync, Write};
use tokio::sync::watch;

use crate::alarm::Alarms;
use crate::call::Calls;
use crate::cell::Cell;
use crate::cluster::{Cluster, ClusterOptions};
use crate::commit::{Committer, Done, Job, Trouble};
use crate::context::TurnContext;
use crate::dead::Dead;
use crate::directory::Directory;
use crate::events::{Events, Scene};
use crate::outside::Outside;
use crate::running::Component;
use crate::scheduler::Scheduler;
use crate::session::EndedSessions;
use crate::supervise::Supervision;
use crate::swap::UnderWay;
use crate::turn::Began;

/// See the module.
pub(crate) struct Hive {
    pub(crate) spec: HiveSpec,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) engine: Engine<TurnContext>,
    pub(crate) committer: Option<Committer>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) directory: Directory,
    /// None of a host that is alone.
    pub(crate) cluster: OnceLock<Cluster>,
    pub(crate) started_ms: u64,
    pub(crate) bus: LocalBus,
    pub(crate) links: Mutex<Links>,
    pub(crate) waits: Mutex<WaitGraph>,
    pub(crate) calls: Calls,
    pub(crate) alarms: Alarms,
    pub(crate) outside: Outside,
    pub(crate) dead: Dead,
    pub(crate) ended_sessions: EndedSessions,
    pub(crate) supervision: Supervision,
    pub(crate) plugins: RwLock<HashMap<Name, PluginEntry>>,
    pub(crate) swapping: Mutex<BTreeMap<Name, Arc<UnderWay>>>,
    pub(crate) events: Events,
    pub(crate) scheduler: Arc<Scheduler>,
    /// Test mode: every durable agent's instance is dropped after every turn.
    pub(crate) drop_instances: bool,
    /// None of a host that is alone.
    pub(crate) cluster_options: Option<ClusterOptions>,
    /// See [`crate::Builder::origin`].
    pub(crate) origins: HashMap<&'static str, String>,
    /// How many wait for a place in the pool of instances.
    pub(crate) places_wanted: AtomicU32,
    pub(crate) stopping: AtomicBool,
    /// Its threads have ended.
    pub(crate) closed: AtomicBool,
    /// Everything declared has started.
    pub(crate) up: watch::Sender<bool>,
    pub(crate) ended: watch::Sender<Option<ExitReason>>,
}

/// A plugin as it is used now.
#[derive(Clone)]
pub(crate) struct PluginEntry {
    pub(crate) component: Component,
    pub(crate) digest: Digest,
    /// What the manifest's file was when this was chosen: while it stays so, a swap stands.
    pub(crate) manifest_digest: Digest,
}

impl Hive {
    pub(crate) fn store(&self) -> Option<Arc<dyn Store>> {
        self.committer.as_ref().and_then(Committer::store)
    }

    pub(crate) fn emit(&self, scene: &Scene, what: What) {
        self.events.emit(scene, what);
    }

    /// As `emit`, of what a guest can bring about in a loop: what is over the agent's rate is only counted.
    pub(crate) fn notice(&self, cell: &Cell, scene: &Scene, what: What) {
        if cell.rates.lock().take_notice(self.clock.monotonic_ns()) {
            self.emit(scene, what);
        } else {
            self.events.count(&what);
        }
    }

    /// An event of an agent that is not of a turn.
    pub(crate) fn emit_of(&self, cell: &Cell, what: What) {
        self.events.emit(&cell.scene(), what);
    }

    /// A turn has failed or was undone: what it has logged says so.
    pub(crate) fn mark_undone(&self, cell: &Cell, began: Began) {
        if began.lines > 0 {
            self.events.mark_undone(cell.id, began.turn, began.lines);
        }
    }

    /// Puts an agent into the queue of runnable agents, if it has something to do.
    pub(crate) fn wake(&self, cell: &Arc<Cell>) {
        if cell.wakes() {
            self.scheduler.push(cell.clone());
        }
    }

    /// Whether the whole hive is ending: what waits is then kept as it is, and becomes no dead letter.
    pub(crate) fn goes_down(&self) -> bool {
        self.stopping.load(std::sync::atomic::Ordering::Relaxed) || self.ended.borrow().is_some()
    }

    /// Whether nothing of it runs any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(crate) fn cell(&self, id: AgentId) -> Option<Arc<Cell>> {
        self.directory.cell(id)
    }

    /// As `commit_as`, of what must survive the loss of power.
    pub(crate) async fn commit_now(&self, writes: Vec<Write>) -> Result<(), skep_store::Error> {
        self.commit_as(Durability::Full, writes).await
    }

    /// Writes that are of no turn, and waits until they stand. Nothing to do without a store.
    pub(crate) async fn commit_as(&self, durability: Durability, writes: Vec<Write>) -> Result<(), skep_store::Error> {
        let Some(committer) = &self.committer else { return Ok(()) };
        let (done, receiver) = waiting();
        let sync = if durability == Durability::Full { Sync::Power } else { Sync::Process };
        committer.submit(Job { writes, sync, void: None, done }, self.scheduler.is_quiet());
        receiver.await
    }

    /// Queues writes that are of no turn and that nobody waits for. While there is no room on the disk they wait.
    pub(crate) fn commit_later(&self, writes: Vec<Write>) {
        if let Some(committer) = &self.committer
            && !writes.is_empty()
        {
            committer.submit_later(writes);
        }
    }

    /// A write that brings to the disk what was queued before it.
    pub(crate) fn settling() -> Vec<Write> {
        let (space, owner, key) = (Space::Hive, AgentId::OUTSIDE, Bytes::from_static(b"settled"));
        vec![Write::Put { space, owner, key, value: Bytes::new() }]
    }

    /// Calls it when everything that was queued before is on disk, or will never be.
    pub(crate) fn when_settled(&self, then: impl FnOnce() + Send + 'static) {
        let Some(committer) = &self.committer else { return then() };
        let done = Box::new(move |_| then());
        committer.submit(Job { writes: Self::settling(), sync: Sync::Power, void: None, done }, false);
    }

    /// From now on the hive hears of what goes wrong with commits, whoever waits for them.
    pub(crate) fn watch_commits(self: &Arc<Self>) {
        let Some(committer) = &self.committer else { return };
        let hive = Arc::downgrade(self);
        committer.watch(move |trouble| {
            if let Some(hive) = hive.upgrade() {
                hive.troubled(trouble);
            }
        });
    }

    fn troubled(&self, trouble: Trouble) {
        match trouble {
            Trouble::Fatal(detail) => self.fail(&detail),
            Trouble::Panicked(text) => self.broken(format!("what follows a commit has panicked: {text}")),
            Trouble::GivenUp(writes, why) => {
                self.events.count_by("writes.given-up", writes as u64);
                let detail = format!("{writes} writes that nobody waits for are given up: {why}");
                self.emit(&Scene::default(), What::CommitFailed { detail });
            }
        }
    }
}

/// What a job is done with, and the end of the wait for it.
pub(crate) fn waiting() -> (Done, impl Future<Output = Result<(), skep_store::Error>>) {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let done = Box::new(move |result| drop(sender.send(result)));
    let committed = async {
        match receiver.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failed)) => Err(crate::commit::CommitFailed::into_error(failed)),
            Err(_) => Err(skep_store::Error::Fatal("the writer has ended".to_owned())),
        }
    };
    (done, committed)
}
