//! The host as its embedder sees it: start, send, ask, look, change, stop. The command line is one user of it. Never a
//! decision about agents: it hands on and waits.
//!
//! *What is underneath.* The SQLite file of the data directory is in stock format, and [`Host::explain`] shows every
//! derived setting with where it came from.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use skep_core::agent::Gate;
use skep_core::event::{Event, What};
use skep_core::grant::Granted;
use skep_core::spec::{AgentSpec, ChildSpec};
use skep_core::supervision::ManageError;
use skep_core::{AgentId, Bytes, ExitReason, MessageId};

use crate::builder::{Builder, Progress};
use crate::cell::{Cell, Order};
use crate::cluster::{Cluster, NodeView};
use crate::error::Error;
use crate::hive::Hive;
use crate::outside::{AskOptions, SendOptions};
use crate::scheduler::RunTurn;
use crate::spawn::{Origin, identity, plant};
use crate::view::{AgentDetail, AgentView, Counters, DeadLetterView, EventStream, Setting, SwapReceipt, TreeView};

/// A hive that runs in this process. Cheap to clone; the hive ends with [`Host::shutdown`], or with the last clone.
#[derive(Clone)]
pub struct Host(Arc<Owner>);

/// Ends the hive's threads when nobody holds the host any more.
struct Owner(Arc<Hive>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Host {
    /// To set a host up.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(hive: Arc<Hive>) -> Self {
        Self(Arc::new(Owner(hive)))
    }

    pub(crate) fn hive(&self) -> &Arc<Hive> {
        &self.0.0
    }

    /// Turns to the other hosts of the hive, if it is to be one of many.
    pub(crate) async fn join(&self) -> Result<(), Error> {
        let hive = self.hive();
        let Some(options) = hive.cluster_options.clone() else { return Ok(()) };
        let cluster = Cluster::connect(hive, options).await?;
        // Only the builder joins, and once.
        let _ = hive.cluster.set(cluster);
        Ok(())
    }

    /// Loads what the store has and starts everything.
    pub(crate) async fn bring_up(&self, report: &Arc<dyn Fn(Progress) + Send + Sync>) -> Result<(), Error> {
        let hive = self.hive().clone();
        let loaded = tokio::task::spawn_blocking(move || {
            if let Some(cluster) = hive.cluster.get() {
                cluster.load(&hive)?;
            }
            let added = crate::boot::plant_all(&hive)?;
            crate::boot::load_all(&hive)?;
            Ok::<_, Error>((added, crate::plugins::forget_swaps(&hive)?))
        });
        let (added, forgotten) = loaded.await.unwrap_or(Err(Error::Stopping))?;
        let hive = self.hive();
        // The workers end, and let go of the hive, when it is closed.
        let of_workers = hive.clone();
        let run: Arc<RunTurn> = Arc::new(move |cell| crate::turn::run(&of_workers, cell));
        hive.scheduler
            .start(&run)
            .map_err(|error| Error::Spec(vec![format!("the host's threads cannot start: {error}")]))?;
        hive.scheduler.handle().spawn(crate::alarm::run(Arc::downgrade(hive)));
        if let Some(cluster) = hive.cluster.get() {
            cluster.open(hive);
        }
        hive.supervise_start();
        self.wait_until_up(report).await?;
        // Only now does the manifest's file stand: a host that could not start with it has changed nothing.
        hive.commit_later(forgotten);
        for cell in added {
            // Its supervisor may be down, or its name taken by now: it rests, as one that the manifest has no more.
            if self.start_added(&cell).is_err() {
                hive.emit(&Default::default(), What::AgentLeftOut { agent: cell.name.clone() });
                crate::spawn::give_back(hive, cell.id);
            }
        }
        Ok(())
    }

    async fn wait_until_up(&self, report: &Arc<dyn Fn(Progress) + Send + Sync>) -> Result<(), Error> {
        let hive = self.hive();
        let (mut up, mut ended) = (hive.up.subscribe(), hive.ended.subscribe());
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(100));
        loop {
            tokio::select! {
                _ = up.wait_for(|up| *up) => break,
                _ = ended.wait_for(Option::is_some) => return Err(self.why_not_up()),
                _ = ticks.tick() => report(self.progress()),
            }
        }
        // The tree hears of a start a moment before the agent takes its first turn.
        for cell in hive.directory.all().into_iter().filter(|cell| cell.declared) {
            let is_through = || (cell.mind.lock().agent.gate() != Gate::Starting || hive.goes_down()).then_some(());
            cell.changed.wait(is_through).await;
        }
        Ok(())
    }

    fn progress(&self) -> Progress {
        let cells = self.hive().directory.all();
        let done = cells.iter().filter(|cell| cell.mind.lock().agent.gate() == Gate::Open).count();
        Progress::Starting { done, total: cells.len() }
    }

    fn why_not_up(&self) -> Error {
        let failed = self.hive().directory.all().into_iter().find_map(|cell| {
            let reason = cell.mind.lock().exit.clone()?;
            matches!(reason, ExitReason::StartFailed(_) | ExitReason::StateUnreadable(_))
                .then(|| Error::start_failed(&cell.name, &reason))
        });
        failed.unwrap_or(Error::Stopping)
    }

    /// Starts an agent that was added while the hive ran before.
    fn start_added(&self, cell: &Arc<Cell>) -> Result<(), ManageError> {
        let spec = ChildSpec::Agent(Box::new(cell.spec.clone()));
        let root = self.hive().spec.root.name.clone();
        match self.hive().add_child(cell.supervisor.as_str(), &spec) {
            // Its supervisor is not in the manifest any more: nobody is an orphan.
            Err(ManageError::NotFound(_)) => self.hive().add_child(root.as_str(), &spec),
            added => added,
        }
    }

    /// Sends a message. Returns once it is as durable as its receiver.
    ///
    /// # Errors
    /// No such agent, no room within 100 ms, a body over the limit, or a store that failed.
    pub async fn send(&self, to: &str, kind: &str, body: Bytes, options: SendOptions) -> Result<MessageId, Error> {
        self.check_running()?;
        crate::outside::send(self.hive(), to, kind, body, options).await
    }

    /// Asks, and waits for the reply. Of a durable agent the reply is the acknowledgement: what follows from the ask is
    /// stored before it comes.
    ///
    /// # Errors
    /// As for `send`; and the refusal, the time-out, or the end of the agent.
    pub async fn ask(&self, to: &str, kind: &str, body: Bytes, options: AskOptions) -> Result<Bytes, Error> {
        self.check_running()?;
        crate::outside::ask(self.hive(), to, kind, body, options).await
    }

    fn check_running(&self) -> Result<(), Error> {
        let hive = self.hive();
        let ends = hive.stopping.load(Ordering::Relaxed) || hive.ended.borrow().is_some();
        if ends { Err(Error::Stopping) } else { Ok(()) }
    }

    /// Adds an agent under a supervisor (the root unless named) and returns when it is ready. A durable agent whose name
    /// had a kept state gets it back.
    ///
    /// # Errors
    /// A name that is taken, no such plugin or supervisor, a contradiction, or a first start that fails.
    pub async fn spawn(&self, supervisor: Option<&str>, spec: AgentSpec) -> Result<AgentId, Error> {
        self.check_running()?;
        let hive = self.hive();
        if hive.directory.resolve(&spec.name).is_some() {
            return Err(Error::AlreadyStarted(spec.name));
        }
        let refused = |why: String| Error::Spec(vec![format!("agent {}: {why}", spec.name)]);
        if !hive.plugins.read().contains_key(&spec.plugin) {
            return Err(Error::NoPlugin(spec.plugin.to_string()));
        }
        if let Some(why) = crate::session::unsuited(hive, &spec) {
            return Err(Error::Spec(vec![why]));
        }
        if spec.durability > skep_core::spec::Durability::None && hive.committer.is_none() {
            return Err(refused("durability needs a data directory".to_owned()));
        }
        let granted = Granted::new(spec.name.clone(), spec.plugin.clone(), &spec.grants)
            .map_err(|bad| refused(bad.to_string()))?;
        let supervisor = self.supervisor_name(supervisor)?;
        let identity = identity(hive, &spec.name, spec.durability);
        let (id, lineage) = (identity.id, identity.lineage);
        let origin = Origin { id, lineage, supervisor: supervisor.clone(), parent: None, declared: false };
        let planted = plant(hive, spec.clone(), granted, origin);
        let planted = planted.inspect_err(|_| identity.rest_again(hive, &spec.name));
        let cell = planted.map_err(|_| Error::AlreadyStarted(spec.name.clone()))?;
        identity.resume(&cell);
        let subscribed = spec.subscribe.iter().try_for_each(|pattern| {
            let subscribed = skep_bus::Bus::subscribe(&hive.bus, pattern, id);
            subscribed.map(drop).map_err(|bad| refused(bad.to_string()))
        });
        if let Err(error) = subscribed {
            crate::spawn::give_back(hive, id);
            return Err(error);
        }
        if let Err(error) = hive.add_child(supervisor.as_str(), &ChildSpec::Agent(Box::new(spec.clone()))) {
            crate::spawn::give_back(hive, id);
            return Err(refused(error.to_string()));
        }
        self.wait_until_open(&cell).await?;
        Ok(id)
    }

    fn supervisor_name(&self, supervisor: Option<&str>) -> Result<skep_core::Name, Error> {
        let root = &self.hive().spec.root.name;
        let Some(text) = supervisor else { return Ok(root.clone()) };
        let found = self.hive().supervision.look(|tree| {
            let child = tree.child(tree.find(text)?)?;
            child.policy().is_some().then(|| child.name().clone())
        });
        found.ok_or_else(|| Error::Spec(vec![format!("there is no supervisor {}", skep_core::name::shown(text, 128))]))
    }

    async fn wait_until_open(&self, cell: &Arc<Cell>) -> Result<(), Error> {
        let open_or_not = || {
            let mind = cell.mind.lock();
            match mind.agent.gate() {
                Gate::Open => Some(Ok(())),
                // Not before its name is free: whoever is told may use it again.
                Gate::Ended if mind.let_go => Some(Err(mind.exit.clone())),
                _ => None,
            }
        };
        let opened = cell.changed.wait(open_or_not).await;
        opened.map_err(|exit| Error::start_failed(&cell.name, &exit.unwrap_or(ExitReason::Shutdown)))
    }

    /// Stops an agent for good: its mailbox becomes dead letters, its open asks end. With `purge` its state goes too;
    /// that works also for an agent that has ended before.
    ///
    /// # Errors
    /// No such agent.
    pub async fn stop(&self, agent: &str, purge: bool) -> Result<(), Error> {
        let hive = self.hive();
        match hive.directory.find(agent) {
            Ok(cell) => {
                crate::session::stop(hive, &cell, "it is stopped").await;
                if hive.terminate(cell.name.as_str()).is_err() {
                    // One that is not in the tree was never started, or is about to go.
                    crate::spawn::give_back(hive, cell.id);
                }
                self.wait_until_ended(&cell).await;
                if purge { self.purge(&cell).await } else { self.settle(&cell).await }
            }
            Err(error) => {
                // One that has ended before is at rest: only its state can still go.
                let Some(name) = skep_core::Name::new(agent).ok().filter(|_| purge) else { return Err(error) };
                let was_in_memory = hive.ended_sessions.remove(&name);
                let was_at_rest = self.purge_rested(&name).await?.is_some();
                if was_in_memory || was_at_rest { Ok(()) } else { Err(error) }
            }
        }
    }

    /// None if no agent of this name is at rest.
    async fn purge_rested(&self, name: &skep_core::Name) -> Result<Option<()>, Error> {
        let hive = self.hive();
        let Some(rested) = hive.directory.take_rested(name) else { return Ok(None) };
        let purged = hive.commit_now(crate::spawn::purge_writes(rested.id)).await;
        purged.inspect_err(|_| hive.directory.rest(name.clone(), rested))?;
        Ok(Some(()))
    }

    async fn purge(&self, cell: &Arc<Cell>) -> Result<(), Error> {
        if self.purge_rested(&cell.name).await?.is_none() {
            self.hive().commit_now(crate::spawn::purge_writes(cell.id)).await?;
        }
        self.hive().ended_sessions.remove(&cell.name);
        let mut mind = cell.mind.lock();
        mind.started = false;
        mind.ran = None;
        mind.state = crate::state::StateBook::new(cell.spec.durability);
        Ok(())
    }

    /// What was written of the agent's end, which nobody waited for, is on disk.
    async fn settle(&self, cell: &Cell) -> Result<(), Error> {
        if cell.is_durable() {
            self.hive().commit_now(Hive::settling()).await?;
        }
        Ok(())
    }

    async fn wait_until_ended(&self, cell: &Arc<Cell>) {
        let is_over = || {
            let at_rest = {
                let mind = cell.mind.lock();
                mind.agent.gate() == Gate::Ended && mind.let_go
            };
            // One that nobody has declared goes altogether.
            let is_gone = cell.declared || self.hive().cell(cell.id).is_none();
            ((at_rest && is_gone) || self.hive().goes_down()).then_some(())
        };
        cell.changed.wait(is_over).await;
    }

    /// Gives an agent a new instance, at an operator's word: mailbox, state, asks and timers stay, and no restart is
    /// counted. An agent that has ended is started again.
    ///
    /// # Errors
    /// No such agent, or its start fails.
    pub async fn restart(&self, agent: &str) -> Result<(), Error> {
        let hive = self.hive();
        let cell = hive.directory.find(agent)?;
        if cell.mind.lock().agent.gate() == Gate::Ended {
            cell.set_gate(Gate::Starting);
            if let Err(error) = hive.start_again(cell.name.as_str()) {
                cell.set_gate(Gate::Ended);
                return Err(Error::StartFailed { agent: cell.name.clone(), reason: error.to_string() });
            }
            return self.wait_until_open(&cell).await;
        }
        if hive.swapping.lock().contains_key(&cell.spec.plugin) {
            return Err(Error::SwapInProgress(cell.spec.plugin.to_string()));
        }
        let (done, renewed) = tokio::sync::oneshot::channel();
        crate::lifecycle::order(hive, &cell, Order::Renew(done));
        match renewed.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(Error::start_failed(&cell.name, &reason)),
            Err(_) => Err(Error::Stopping),
        }
    }

    /// Puts another version of a plugin under one agent, or under all agents of a plugin, while messages flow.
    /// Once begun it comes to its end, whether the caller waits for it or not.
    ///
    /// # Errors
    /// The file cannot be used, or a phase failed: then the old version goes on. Another swap of the plugin is under way.
    pub async fn swap(&self, agent_or_plugin: &str, file: &Path) -> Result<SwapReceipt, Error> {
        self.check_running()?;
        let (hive, name, file) = (self.hive().clone(), agent_or_plugin.to_owned(), file.to_owned());
        self.to_its_end(async move { crate::swap::swap(&hive, &name, &file).await }).await
    }

    /// Work that must not stop half-way, whatever becomes of who waits for it.
    async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.hive().scheduler.handle().spawn(work).await.unwrap_or(Err(Error::Stopping))
    }

    /// All agents, by number.
    pub fn agents(&self) -> Vec<AgentView> {
        crate::inspect::agents(self.hive())
    }

    /// Agents that are in the hive no more and whose state is kept, by name, from the first whose name comes after this.
    ///
    /// # Errors
    /// The store cannot read them.
    pub fn resting(&self, after: &str, count_max: usize) -> Result<Vec<AgentView>, Error> {
        crate::inspect::resting(self.hive(), after, count_max)
    }

    /// The hosts of the hive as this one sees them, itself first, then by name. None of a host that is alone.
    pub fn nodes(&self) -> Vec<NodeView> {
        let hive = self.hive();
        hive.cluster.get().map(|cluster| cluster.nodes(hive)).unwrap_or_default()
    }

    /// The tree of supervisors.
    pub fn tree(&self) -> TreeView {
        crate::inspect::tree(self.hive())
    }

    /// All that is known of an agent.
    ///
    /// # Errors
    /// No such agent.
    pub fn inspect(&self, agent: &str) -> Result<AgentDetail, Error> {
        let cell = self.hive().directory.find(agent)?;
        Ok(crate::inspect::detail(self.hive(), &cell))
    }

    /// Dead letters, the oldest first.
    ///
    /// # Errors
    /// None now; a store that pages them may have some.
    pub fn dead_letters(&self, count_max: usize) -> Result<Vec<DeadLetterView>, Error> {
        let letters = self.hive().dead.letters.lock();
        Ok(letters.iter().take(count_max).map(crate::inspect::dead_letter).collect())
    }

    /// One dead letter.
    ///
    /// # Errors
    /// There is none of that id.
    pub fn dead_letter(&self, id: MessageId) -> Result<DeadLetterView, Error> {
        let letters = self.hive().dead.letters.lock();
        letters.get(id).map(crate::inspect::dead_letter).ok_or_else(|| Error::NoDeadLetter(id.to_string()))
    }

    /// Sends a dead letter again: a new delivery that says what it repeats. Returns the new message's id.
    ///
    /// # Errors
    /// There is none of that id, or its receiver does not take it: then it stays.
    pub async fn retry_dead_letter(&self, id: MessageId) -> Result<MessageId, Error> {
        self.check_running()?;
        let hive = self.hive().clone();
        self.to_its_end(async move {
            // Taken out first: of two who retry it at a time, one finds none.
            let letter = hive.dead.letters.lock().remove(id);
            let letter = letter.ok_or_else(|| Error::NoDeadLetter(id.to_string()))?;
            let sent = crate::outside::send_again(&hive, letter.to.as_str(), letter.message.clone()).await;
            sent.inspect_err(|_| drop(hive.dead.letters.lock().push(letter)))
        })
        .await
    }

    /// Forgets a dead letter.
    ///
    /// # Errors
    /// There is none of that id, or the store failed.
    pub async fn drop_dead_letter(&self, id: MessageId) -> Result<(), Error> {
        self.forget_dead_letter(id).await
    }

    async fn forget_dead_letter(&self, id: MessageId) -> Result<(), Error> {
        let removed = self.hive().dead.letters.lock().remove(id);
        removed.ok_or_else(|| Error::NoDeadLetter(id.to_string()))?;
        Ok(self.hive().commit_now(vec![crate::dead::forget(id)]).await?)
    }

    /// Events from now on.
    pub fn events(&self) -> EventStream {
        self.hive().events.listen()
    }

    /// The last events, oldest first: at most 16,384 are kept, and none without telemetry.
    pub fn recent(&self, count_max: usize) -> Vec<Arc<Event>> {
        self.hive().events.recent(count_max)
    }

    /// Every derived setting, with where it came from.
    pub fn explain(&self) -> Vec<Setting> {
        crate::inspect::explain(self.hive())
    }

    /// Numbers since the host started.
    pub fn counters(&self) -> Counters {
        crate::inspect::counters(self.hive())
    }

    /// Stops everything, right to left, and waits until it has stopped and all that was committed is on disk.
    pub async fn shutdown(&self) {
        let hive = self.hive().clone();
        if !hive.stopping.swap(true, Ordering::SeqCst) {
            hive.emit(&Default::default(), What::HiveStopping);
        }
        hive.supervise_shutdown();
        self.ended().await;
        if let Some(cluster) = hive.cluster.get() {
            cluster.close().await;
        }
        // Joins the threads of the commit pipeline.
        let _ = tokio::task::spawn_blocking(move || hive.close()).await;
    }

    /// Waits until the hive is down, by itself or by `shutdown`, and says why.
    pub async fn ended(&self) -> ExitReason {
        let mut ended = self.hive().ended.subscribe();
        let reason = ended.wait_for(Option::is_some).await.map(|reason| reason.clone());
        reason.ok().flatten().unwrap_or(ExitReason::Shutdown)
    }
}

impl Hive {
    /// Ends the hive's threads. What is running is left where it is; nothing that was committed is lost.
    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.scheduler.stop();
        if let Some(committer) = &self.committer {
            committer.stop();
        }
        for cell in self.directory.all() {
            drop(cell.instance.lock().take());
        }
        self.directory.clear();
    }
}
