//! Drives the tree of supervisors: what it asks for is performed here, in order, before it is told anything else. Never
//! decides what is started again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use skep_core::event::What;
use skep_core::spec::ChildSpec;
use skep_core::supervision::{Action, ChildId, Down, Event, ManageError, Status, Tree};
use skep_core::{AgentId, ExitReason};

use crate::cell::{Cell, Order};
use crate::hive::Hive;

/// See the module.
pub(crate) struct Supervision {
    tree: Mutex<Tree>,
    children: Mutex<HashMap<AgentId, u32>>,
}

impl Supervision {
    pub(crate) fn new(tree: Tree) -> Self {
        Self { tree: Mutex::new(tree), children: Mutex::default() }
    }

    /// Reads the tree as it is.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Tree) -> T) -> T {
        look(&self.tree.lock())
    }

    /// The number of an agent in the tree.
    pub(crate) fn child_of(&self, cell: &Cell) -> Option<ChildId> {
        self.tree.lock().find(cell.name.as_str())
    }

    /// How many children an agent has started that are not gone.
    pub(crate) fn children_of(&self, parent: AgentId) -> u32 {
        self.children.lock().get(&parent).copied().unwrap_or(0)
    }

    pub(crate) fn child_added(&self, parent: AgentId) {
        *self.children.lock().entry(parent).or_insert(0) += 1;
    }

    pub(crate) fn child_gone(&self, parent: AgentId) {
        let mut children = self.children.lock();
        if let Some(count) = children.get_mut(&parent) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                children.remove(&parent);
            }
        }
    }
}

impl Hive {
    /// Starts everything.
    pub(crate) fn supervise_start(self: &Arc<Self>) {
        let mut tree = self.supervision.tree.lock();
        let actions = tree.start(self.clock.monotonic_ns());
        self.perform(&tree, actions);
    }

    /// Stops everything, right to left.
    pub(crate) fn supervise_shutdown(self: &Arc<Self>) {
        let mut tree = self.supervision.tree.lock();
        let actions = tree.shutdown(self.clock.monotonic_ns());
        self.perform(&tree, actions);
    }

    /// Tells the tree what happened, and does what it asks for.
    pub(crate) fn supervise(self: &Arc<Self>, event: Event) {
        let mut tree = self.supervision.tree.lock();
        let actions = tree.handle(event, self.clock.monotonic_ns());
        self.perform(&tree, actions);
    }

    /// Adds a child to a supervisor and starts it.
    pub(crate) fn add_child(self: &Arc<Self>, supervisor: &str, spec: &ChildSpec) -> Result<(), ManageError> {
        let mut tree = self.supervision.tree.lock();
        let (_, actions) = tree.start_child(supervisor, spec, self.clock.monotonic_ns())?;
        self.perform(&tree, actions);
        Ok(())
    }

    /// Stops a child, whatever it is doing.
    pub(crate) fn terminate(self: &Arc<Self>, child: &str) -> Result<(), ManageError> {
        let mut tree = self.supervision.tree.lock();
        let actions = tree.terminate_child(child, self.clock.monotonic_ns())?;
        self.perform(&tree, actions);
        Ok(())
    }

    /// As `terminate`, of this agent and no other one that has taken its name. One that is not in the tree any more is stopped
    /// already.
    pub(crate) fn terminate_agent(self: &Arc<Self>, cell: &Cell) {
        if self.directory.resolve(&cell.name) == Some(cell.id) {
            let _ = self.terminate(cell.name.as_str());
        }
    }

    /// Starts a child that is at rest.
    pub(crate) fn start_again(self: &Arc<Self>, child: &str) -> Result<(), ManageError> {
        let mut tree = self.supervision.tree.lock();
        let actions = tree.restart_child(child, self.clock.monotonic_ns())?;
        self.perform(&tree, actions);
        Ok(())
    }

    /// Removes a child that is at rest.
    fn delete(self: &Arc<Self>, child: &str) -> Result<(), ManageError> {
        let mut tree = self.supervision.tree.lock();
        let actions = tree.delete_child(child, self.clock.monotonic_ns())?;
        self.perform(&tree, actions);
        Ok(())
    }

    /// The tree is locked meanwhile, so that nothing it asks for later is begun before. What is begun here only queues.
    fn perform(self: &Arc<Self>, tree: &Tree, actions: Vec<Action>) {
        let keep = tree.child(tree.root()).is_none_or(|root| !root.is_active() || root.status() == Status::Stopping);
        for action in actions {
            match action {
                Action::Start { child } => self.order_child(tree, child, Order::Start(child)),
                Action::Stop { child, reason, how } => self.order_child(tree, child, Order::Stop(child, reason, how)),
                Action::Wait { child, until_ns } => self.wait(child, until_ns),
                Action::Restarting { child, restarts } => self.restarting(tree, child, restarts),
                Action::Escalated { supervisor } => {
                    self.emit(&Default::default(), What::SupervisorEscalated { supervisor });
                }
                Action::Ended { supervisor } => self.emit(&Default::default(), What::SupervisorEnded { supervisor }),
                Action::Resting { child } => {
                    self.order_child(tree, child, Order::Finish { gone: false, keep });
                    if !keep {
                        self.let_go(tree, child);
                    }
                }
                Action::Gone { name, .. } => {
                    if let Some(cell) = self.directory.resolve(&name).and_then(|id| self.cell(id)) {
                        crate::lifecycle::order(self, &cell, Order::Finish { gone: true, keep });
                    }
                }
                Action::HiveUp => {
                    self.up.send_replace(true);
                    self.emit(&Default::default(), What::HiveStarted);
                }
                Action::HiveDown { why, reason } => self.down(why, reason),
            }
        }
    }

    fn order_child(self: &Arc<Self>, tree: &Tree, child: ChildId, order: Order) {
        let Some(found) = tree.child(child) else { return };
        let Some(spec) = found.agent() else { return };
        let cell = match self.directory.resolve(&spec.name).and_then(|id| self.cell(id)) {
            Some(cell) => Ok(cell),
            None => crate::spawn::declare_again(self, spec, found.supervisor().and_then(|above| tree.child(above))),
        };
        match (cell, order) {
            (Ok(cell), order) => crate::lifecycle::order(self, &cell, order),
            (Err(reason), Order::Start(child)) => {
                let hive = self.clone();
                // Not from here: the tree is locked.
                self.scheduler.handle().spawn(async move {
                    hive.supervise(Event::StartFailed { child, reason });
                });
            }
            (Err(_), _) => {}
        }
    }

    /// A child that was added while the hive ran is at rest: nobody declared it, so it goes, and its name is free again.
    fn let_go(self: &Arc<Self>, tree: &Tree, child: ChildId) {
        let added = tree.child(child).filter(|found| !found.is_declared());
        let Some(name) = added.and_then(|found| found.agent().map(|spec| spec.name.clone())) else { return };
        let hive = self.clone();
        // Not from here: the tree is locked.
        self.scheduler.handle().spawn(async move {
            // One that was started again meanwhile stays.
            let _ = hive.delete(name.as_str());
        });
    }

    fn restarting(&self, tree: &Tree, child: ChildId, restarts: u32) {
        let agent = tree.child(child).and_then(|found| found.agent().map(|spec| spec.name.clone()));
        let cell = agent.and_then(|name| self.directory.resolve(&name)).and_then(|id| self.cell(id));
        let scene = cell.as_ref().map(|cell| cell.scene()).unwrap_or_default();
        if let Some(cell) = cell {
            cell.stats.restarts.fetch_add(1, Ordering::Relaxed);
        }
        self.emit(&scene, What::AgentRestarting { restarts });
    }

    #[expect(clippy::disallowed_methods, reason = "a back-off is made of time")]
    fn wait(self: &Arc<Self>, child: ChildId, until_ns: u64) {
        let hive = self.clone();
        let wait_ns = until_ns.saturating_sub(self.clock.monotonic_ns());
        self.scheduler.handle().spawn(async move {
            tokio::time::sleep(Duration::from_nanos(wait_ns)).await;
            hive.supervise(Event::Timer { child, until_ns });
        });
    }

    fn down(&self, why: Down, reason: ExitReason) {
        // To the root's own supervisor, if it had one, its end would be `shutdown`, as in OTP; to an operator it is none.
        let reason = match (why, reason) {
            (Down::Escalated, reason) if reason.is_ordinary() => {
                ExitReason::Error("the root gave up: more restarts than its intensity allows".to_owned())
            }
            (_, reason) => reason,
        };
        if why != Down::Asked {
            self.emit(&Default::default(), What::HiveDown(reason.clone()));
        }
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(reason);
            }
            first
        });
    }

    /// The host cannot go on: its store has failed.
    pub(crate) fn fail(&self, detail: &str) {
        self.broken(format!("the store failed: {detail}"));
    }

    /// The host cannot go on, and says why: once.
    pub(crate) fn broken(&self, why: String) {
        if self.ended.borrow().is_none() {
            self.down(Down::Escalated, ExitReason::Error(why));
        }
    }
}
