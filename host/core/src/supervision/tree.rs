//! The tree itself: takes events, gives actions. The rules are in the modules beside it. Never performs an action.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::exit::ExitReason;
use crate::spec::SupervisorSpec;

use super::action::{Action, Down, Event};
use super::error::SpecError;
use super::node::{ChildId, Node, Op, Origin, State, Why};
use super::nodes::Nodes;
use super::plan::{Plan, SupervisorPlan, check};

/// All supervisors of one hive. Pure: time is given with each call, as nanoseconds that never go back; what is to be
/// done is returned, to be performed in that order before the next call's.
///
/// [`start`](Self::start) once, then [`handle`](Self::handle) every answer and every exit, until
/// [`Action::HiveDown`].
///
/// Calls ([`start_child`](Self::start_child), [`terminate_child`](Self::terminate_child),
/// [`restart_child`](Self::restart_child)) return at once; the supervisor may have to finish something first. A call
/// that was not refused is answered as follows.
///
/// | call | it is done | it came to nothing |
/// |---|---|---|
/// | `start_child` | the child's [`Event::Started`] | [`Action::Gone`] |
/// | `restart_child` | the child's [`Event::Started`] | [`Action::Resting`] or [`Action::Gone`] |
/// | `terminate_child` | [`Action::Resting`] or [`Action::Gone`] | |
///
/// After [`Action::HiveDown`] nothing is answered any more.
#[derive(Debug)]
pub struct Tree {
    pub(super) nodes: Nodes,
    pub(super) root: ChildId,
    /// Why the root ends, once it does.
    pub(super) down: Option<Down>,
    pub(super) start_concurrency_max: u32,
    pub(super) now_ns: u64,
    /// Supervisors to look at before the call returns. Each step is bounded, and nothing recurses.
    pub(super) work: VecDeque<ChildId>,
    pub(super) out: Vec<Action>,
}

impl Tree {
    /// Checks the tree and lays it out; nothing runs yet.
    ///
    /// # Errors
    /// All contradictions at once: see [`check`].
    pub fn new(root: &SupervisorSpec) -> Result<Self, Vec<SpecError>> {
        let errors = check(root);
        if !errors.is_empty() {
            return Err(errors);
        }
        let plan = Plan::Supervisor(Arc::new(SupervisorPlan::of(root)));
        let mut tree = Self {
            nodes: Nodes::default(),
            root: ChildId { index: 0, generation: 0 },
            down: None,
            start_concurrency_max: 1,
            now_ns: 0,
            work: VecDeque::new(),
            out: Vec::new(),
        };
        // Names were checked, so nothing can be taken.
        let _ = tree.plant(&plan, None, 0, Origin::Declared);
        Ok(tree)
    }

    /// How many children of one supervisor may be starting at a time, where a restart concerns one child only. 1, the
    /// default, is OTP's rule; 0 is taken as 1. The bound is for each supervisor by itself: siblings that are
    /// supervisors and start at the same time have one each.
    pub fn start_concurrency_max(mut self, count: u32) -> Self {
        self.start_concurrency_max = count.max(1);
        self
    }

    /// Starts everything. [`Action::HiveUp`] says when it is done, [`Action::HiveDown`] that it came to nothing. Does
    /// nothing if the hive is not down.
    pub fn start(&mut self, now_ns: u64) -> Vec<Action> {
        self.now_ns = now_ns;
        if self.nodes.get(self.root).is_some_and(|root| root.state == State::Resting) {
            self.down = None;
            self.nodes.set_state(self.root, State::Starting(Why::Init));
            self.open(self.root);
        }
        self.finish_work()
    }

    /// Stops everything, right to left, whatever is under way. [`Action::HiveDown`] says when it is done. A second call
    /// changes nothing.
    pub fn shutdown(&mut self, now_ns: u64) -> Vec<Action> {
        self.now_ns = now_ns;
        if self.nodes.get(self.root).is_some_and(|root| matches!(root.state, State::Starting(_) | State::Running)) {
            self.down.get_or_insert(Down::Asked);
            self.stop_child(self.root, false);
        }
        self.finish_work()
    }

    /// Takes what happened.
    pub fn handle(&mut self, event: Event, now_ns: u64) -> Vec<Action> {
        self.now_ns = now_ns;
        match event {
            Event::Started { child } => self.on_agent(child, Self::on_started),
            Event::Stopped { child } => self.on_agent(child, Self::on_stopped),
            Event::StartFailed { child, reason } => self.on_agent(child, |tree, id| tree.on_start_failed(id, reason)),
            Event::Exited { child, reason } => self.on_agent(child, |tree, id| tree.on_exited(id, reason)),
            Event::Timer { child, until_ns } => self.on_timer(child, until_ns),
        }
        self.finish_work()
    }

    /// Supervisors are the tree's own: an event from outside about one is a mistake, and ignored.
    fn on_agent(&mut self, child: ChildId, then: impl FnOnce(&mut Self, ChildId)) {
        if self.nodes.get(child).is_some() && self.nodes.supervisor(child).is_none() {
            then(self, child);
        }
    }

    fn on_timer(&mut self, child: ChildId, until_ns: u64) {
        let Some(node) = self.nodes.get(child) else { return };
        if node.state == (State::Waiting { until_ns }) {
            self.nodes.set_state(child, State::Retry { counted: true });
            self.note(child);
        } else if node.state == State::Stopping
            && self.nodes.supervisor(child).is_some_and(|supervisor| supervisor.kill_at_ns == Some(until_ns))
        {
            self.kill(child);
        }
    }

    pub(super) fn finish_work(&mut self) -> Vec<Action> {
        while let Some(supervisor) = self.work.pop_front() {
            match self.nodes.supervisor(supervisor).map(|supervisor| supervisor.op) {
                None | Some(Op::Down) => {}
                Some(Op::Stop(_)) => self.advance(supervisor),
                Some(Op::Init | Op::Idle | Op::Regroup) => self.proceed(supervisor),
            }
        }
        std::mem::take(&mut self.out)
    }

    /// Puts a child into its supervisor's inbox.
    pub(super) fn note(&mut self, child: ChildId) {
        let Some(node) = self.nodes.get_mut(child) else { return };
        let Some(parent) = node.parent else { return };
        let was_noted = std::mem::replace(&mut node.noted, true);
        if !was_noted && let Some(supervisor) = self.nodes.supervisor_mut(parent) {
            supervisor.inbox.push_back(child);
        }
        self.work.push_back(parent);
    }

    pub(super) fn parent_of(&self, child: ChildId) -> Option<ChildId> {
        self.nodes.get(child)?.parent
    }

    pub(super) fn op_of(&self, supervisor: Option<ChildId>) -> Op {
        supervisor.and_then(|id| self.nodes.supervisor(id)).map_or(Op::Down, |supervisor| supervisor.op)
    }

    pub(super) fn hive_down(&mut self, reason: ExitReason) {
        self.nodes.set_state(self.root, State::Resting);
        let why = self.down.take().unwrap_or(Down::StartFailed);
        self.out.push(Action::HiveDown { why, reason });
    }

    /// Lays out a plan and all below it, at rest. None: a name is taken, and nothing was laid out.
    pub(super) fn plant(
        &mut self,
        plan: &Plan,
        parent: Option<ChildId>,
        position: u64,
        origin: Origin,
    ) -> Option<ChildId> {
        let top = self.nodes.insert(Node::new(plan, parent, position, origin))?;
        let mut plans = VecDeque::from([(plan.clone(), top)]);
        while let Some((plan, id)) = plans.pop_front() {
            let Plan::Supervisor(plan) = plan else { continue };
            for (position, child) in plan.children.iter().enumerate() {
                let node = Node::new(child, Some(id), position as u64, Origin::Declared);
                let Some(id) = self.nodes.insert(node) else {
                    self.uproot(top);
                    return None;
                };
                plans.push_back((child.clone(), id));
            }
        }
        Some(top)
    }

    /// Takes out a child and all below it, silently; each with its name, the lowest first.
    pub(super) fn uproot(&mut self, child: ChildId) -> Vec<(ChildId, crate::name::Name)> {
        let ids = self.nodes.with_descendants(child);
        ids.into_iter().rev().filter_map(|id| Some((id, self.nodes.remove(id)?.name))).collect()
    }
}
