//! Starting children: with their supervisor, after a restart, by a call; and what their answers mean. Never makes an
//! instance.

use crate::exit::ExitReason;

use super::action::Action;
use super::node::{ChildId, Kind, Op, State, Why};
use super::policy;
use super::tree::Tree;

impl Tree {
    /// Begins the start of a supervisor: what was declared and is not there comes back, then all are due in order.
    pub(super) fn open(&mut self, id: ChildId) {
        let Some(plan) = self.nodes.supervisor(id).map(|supervisor| supervisor.plan.clone()) else { return };
        for (position, child) in plan.children.iter().enumerate() {
            let position = position as u64;
            let there = self.nodes.supervisor(id).is_some_and(|supervisor| supervisor.children.contains_key(&position));
            if !there && self.plant(child, Some(id), position, super::node::Origin::Declared).is_none() {
                let text = format!("{}: a name of its children is taken by another child", child.name());
                return self.on_start_failed(id, ExitReason::StartFailed(text));
            }
        }
        let Some(supervisor) = self.nodes.supervisor_mut(id) else { return };
        supervisor.op = Op::Init;
        let children: Vec<_> = supervisor.children.values().copied().collect();
        for child in children {
            self.due(child, Why::Init);
        }
        self.work.push_back(id);
    }

    /// Puts a child at the end of its supervisor's queue of starts.
    pub(super) fn due(&mut self, child: ChildId, why: Why) {
        self.nodes.queue(child, why);
        self.work.extend(self.parent_of(child));
    }

    /// What a supervisor that is not stopping does: start what is due, then look at what happened meanwhile.
    pub(super) fn proceed(&mut self, id: ChildId) {
        let concurrency_max = self.start_concurrency_max;
        while let Some(child) = self.nodes.supervisor(id).and_then(|it| it.next_start(concurrency_max)) {
            self.begin_start(child);
        }
        self.complete(id);
        while let Some(child) = self.next_noted(id) {
            self.look(child);
        }
    }

    fn begin_start(&mut self, child: ChildId) {
        let Some(node) = self.nodes.get(child) else { return };
        let State::Due(why) = node.state else { return };
        let is_agent = matches!(node.kind, Kind::Agent(_));
        self.nodes.set_state(child, State::Starting(why));
        if is_agent {
            self.out.push(Action::Start { child });
        } else {
            self.open(child);
        }
    }

    fn complete(&mut self, id: ChildId) {
        let Some(supervisor) = self.nodes.supervisor_mut(id) else { return };
        if !supervisor.starts.is_empty() || supervisor.tally.starting > 0 {
            return;
        }
        match std::mem::replace(&mut supervisor.op, Op::Idle) {
            Op::Init => self.on_started(id),
            Op::Idle | Op::Regroup => {}
            // Not to be changed from here.
            op @ (Op::Down | Op::Stop(_)) => supervisor.op = op,
        }
    }

    fn next_noted(&mut self, id: ChildId) -> Option<ChildId> {
        let supervisor = self.nodes.supervisor_mut(id)?;
        if supervisor.is_free() { supervisor.inbox.pop_front() } else { None }
    }

    /// A child runs.
    pub(super) fn on_started(&mut self, child: ChildId) {
        let now_ns = self.now_ns;
        let Some(node) = self.nodes.get_mut(child) else { return };
        if !matches!(node.state, State::Starting(_)) {
            return;
        }
        node.started_ns = now_ns;
        // A call to terminate it may be waiting, and is answered later.
        node.called = node.stop_wanted;
        let parent = node.parent;
        self.nodes.set_state(child, State::Running);
        match parent {
            Some(parent) => self.work.push_back(parent),
            None => self.out.push(Action::HiveUp),
        }
    }

    /// A child did not come to run.
    pub(super) fn on_start_failed(&mut self, child: ChildId, reason: ExitReason) {
        let Some(node) = self.nodes.get(child) else { return };
        let why = match node.state {
            State::Starting(why) => why,
            State::Stopping => return self.on_stopped(child),
            _ => return,
        };
        let Some(parent) = node.parent else { return self.hive_down(reason) };
        self.work.push_back(parent);
        if matches!(self.op_of(Some(parent)), Op::Stop(_)) {
            return self.nodes.set_state(child, State::Resting);
        }
        match why {
            Why::Init => {
                let reason = self.failure(child, reason);
                self.nodes.set_state(child, State::Resting);
                self.begin_end(parent, Some(reason));
            }
            Why::Added => self.remove(child),
            Why::Asked => self.rest(child),
            Why::Again => {
                self.nodes.set_state(child, State::Retry { counted: false });
                self.abandon_regroup(parent);
                self.note(child);
            }
        }
    }

    /// What a supervisor fails with: the agent at the bottom of it is named, once.
    fn failure(&self, child: ChildId, reason: ExitReason) -> ExitReason {
        match (self.nodes.get(child), reason) {
            (Some(node), reason) if matches!(node.kind, Kind::Agent(_)) => match reason {
                ExitReason::StartFailed(text) => ExitReason::StartFailed(format!("{}: {text}", node.name)),
                reason => ExitReason::StartFailed(format!("{}: {reason}", node.name)),
            },
            (_, reason) => reason,
        }
    }

    /// The start of a group failed: those that were to follow wait for the next attempt.
    fn abandon_regroup(&mut self, id: ChildId) {
        let Some(supervisor) = self.nodes.supervisor_mut(id) else { return };
        if supervisor.op != Op::Regroup {
            return;
        }
        supervisor.op = Op::Idle;
        for child in self.clear_starts(id) {
            self.nodes.set_state(child, State::Due(Why::Again));
        }
    }

    /// Empties the queue of starts: those that were in it rest.
    pub(super) fn clear_starts(&mut self, id: ChildId) -> Vec<ChildId> {
        let starts = self.nodes.supervisor(id).map(|supervisor| supervisor.starts.values().copied().collect());
        let starts: Vec<_> = starts.unwrap_or_default();
        for &child in &starts {
            self.nodes.set_state(child, State::Resting);
        }
        starts
    }

    /// A child ended by itself.
    pub(super) fn on_exited(&mut self, child: ChildId, reason: ExitReason) {
        let Some(node) = self.nodes.get(child) else { return };
        match node.state {
            State::Running => {}
            State::Starting(_) => return self.on_start_failed(child, reason),
            State::Stopping => return self.on_stopped(child),
            _ => return,
        }
        let Some(parent) = node.parent else { return };
        self.forgive(child, parent);
        self.nodes.set_state(child, State::Ended(reason));
        self.note(child);
    }

    /// A child that ran long enough begins its waits anew.
    fn forgive(&mut self, child: ChildId, parent: ChildId) {
        let now_ns = self.now_ns;
        let back_off = self.nodes.supervisor(parent).and_then(|supervisor| supervisor.plan.policy.back_off);
        if let (Some(back_off), Some(node)) = (back_off, self.nodes.get_mut(child))
            && now_ns.saturating_sub(node.started_ns) >= policy::forgiven_ns(&back_off)
        {
            node.streak = 0;
        }
    }
}
