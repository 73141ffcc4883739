//! What the end of a child means: the truth table of restart types, the count, and whom the strategy restarts with it.
//! Never how they are stopped and started.

use crate::exit::ExitReason;
use crate::spec::{Restart, Strategy};

use super::action::{Action, Down};
use super::node::{ChildId, Op, State, Stop, Then, Why};
use super::policy;
use super::tree::Tree;

impl Tree {
    /// A supervisor looks at a child in its inbox.
    pub(super) fn look(&mut self, child: ChildId) {
        let Some(node) = self.nodes.get_mut(child) else { return };
        node.noted = false;
        if node.stop_wanted {
            return self.end_child(child);
        }
        match node.state.clone() {
            State::Ended(reason) => self.judge(child, &reason),
            State::Retry { counted: false } => self.restart(child),
            State::Retry { counted: true } => self.bring_back(child),
            State::Asked(why) => self.due(child, why),
            // What it was noted for is over: an operation took it along.
            _ => {}
        }
    }

    fn judge(&mut self, child: ChildId, reason: &ExitReason) {
        let Some(node) = self.nodes.get(child) else { return };
        if is_restarted(node.restart, reason) {
            return self.restart(child);
        }
        let (parent, significant) = (node.parent, node.significant);
        self.rest(child);
        if significant && let Some(parent) = parent {
            self.auto_shutdown(parent);
        }
    }

    /// Counts a restart and begins it, or gives up.
    fn restart(&mut self, child: ChildId) {
        let now_ns = self.now_ns;
        let Some((parent, position)) = self.nodes.get(child).and_then(|node| Some((node.parent?, node.position)))
        else {
            return;
        };
        let Some(supervisor) = self.nodes.supervisor_mut(parent) else { return };
        let policy = supervisor.plan.policy;
        let restarts = supervisor.window.add(now_ns, policy.period_ms);
        if restarts > policy.intensity {
            self.nodes.set_state(child, State::Resting);
            return self.give_up(parent);
        }
        self.out.push(Action::Restarting { child, restarts });
        match policy.strategy {
            Strategy::OneForOne | Strategy::Dynamic => {
                if !self.wait(child) {
                    self.due(child, Why::Again);
                }
            }
            Strategy::OneForAll => self.stop_group(parent, child, 0),
            Strategy::RestForOne => self.stop_group(parent, child, position),
        }
    }

    fn give_up(&mut self, id: ChildId) {
        if let Some(node) = self.nodes.get(id) {
            self.out.push(Action::Escalated { supervisor: node.name.clone() });
        }
        if id == self.root {
            self.down.get_or_insert(Down::Escalated);
        }
        self.begin_end(id, None);
    }

    fn stop_group(&mut self, id: ChildId, cause: ChildId, floor: u64) {
        let Some(supervisor) = self.nodes.supervisor_mut(id) else { return };
        supervisor.op = Op::Stop(Stop { floor, cursor: u64::MAX, then: Then::Restart(cause) });
        self.work.push_back(id);
    }

    /// The group is stopped: starts it, at once or after the wait of the child that caused it.
    pub(super) fn group_stopped(&mut self, id: ChildId, cause: ChildId) {
        if let Some(supervisor) = self.nodes.supervisor_mut(id) {
            supervisor.op = Op::Idle;
        }
        if self.wait(cause) {
            self.work.push_back(id);
        } else {
            self.start_group(id, cause);
        }
    }

    fn start_group(&mut self, id: ChildId, cause: ChildId) {
        for child in self.waiting_group(id, cause) {
            self.due(child, Why::Again);
        }
        if let Some(supervisor) = self.nodes.supervisor_mut(id) {
            supervisor.op = Op::Regroup;
        }
        self.work.push_back(id);
    }

    /// The children of the group of this one that were stopped to be started with it.
    pub(super) fn waiting_group(&self, id: ChildId, cause: ChildId) -> Vec<ChildId> {
        let Some(supervisor) = self.nodes.supervisor(id) else { return Vec::new() };
        let floor = match supervisor.plan.policy.strategy {
            Strategy::RestForOne => self.nodes.get(cause).map_or(0, |node| node.position),
            _ => 0,
        };
        let group = supervisor.children.range(floor..).map(|(_, &child)| child);
        let is_waiting = |&child: &ChildId| self.nodes.get(child).is_some_and(|it| it.state == State::Due(Why::Again));
        group.filter(is_waiting).collect()
    }

    /// The wait of a counted restart is over.
    fn bring_back(&mut self, child: ChildId) {
        let Some(parent) = self.parent_of(child) else { return };
        if self.is_grouped(parent) {
            self.nodes.set_state(child, State::Due(Why::Again));
            self.start_group(parent, child);
        } else {
            self.due(child, Why::Again);
        }
    }

    pub(super) fn is_grouped(&self, id: ChildId) -> bool {
        self.nodes.supervisor(id).is_some_and(|supervisor| supervisor.plan.policy.is_grouped())
    }

    /// Lets a child wait for its restart, if its supervisor has a back-off; whether it has.
    fn wait(&mut self, child: ChildId) -> bool {
        let now_ns = self.now_ns;
        let Some(parent) = self.parent_of(child) else { return false };
        let Some(back_off) = self.nodes.supervisor(parent).and_then(|supervisor| supervisor.plan.policy.back_off)
        else {
            return false;
        };
        let Some(node) = self.nodes.get_mut(child) else { return false };
        let until_ns = now_ns.saturating_add(policy::wait_ns(&back_off, node.streak));
        node.streak = node.streak.saturating_add(1);
        self.nodes.set_state(child, State::Waiting { until_ns });
        self.out.push(Action::Wait { child, until_ns });
        true
    }
}

/// OTP's truth table.
fn is_restarted(restart: Restart, reason: &ExitReason) -> bool {
    match restart {
        Restart::Permanent => true,
        Restart::Transient => !reason.is_ordinary(),
        Restart::Temporary => false,
    }
}
