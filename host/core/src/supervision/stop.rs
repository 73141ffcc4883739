//! Stopping children: one by a call, a group to restart it, all with their supervisor; right to left. Never ends an
//! instance.

use crate::exit::ExitReason;
use crate::spec::{Restart, Shutdown, Strategy};

use super::action::{Action, Down};
use super::node::{ChildId, Kind, Op, Origin, State, Stop, Then, Why};
use super::tree::Tree;

impl Tree {
    /// Tells a child that is starting or runs to stop. `brutal`: at once, and everything below it.
    pub(super) fn stop_child(&mut self, child: ChildId, brutal: bool) {
        let Some(node) = self.nodes.get(child) else { return };
        let how = if brutal { Shutdown::Brutal } else { node.shutdown };
        let is_agent = matches!(node.kind, Kind::Agent(_));
        self.nodes.set_state(child, State::Stopping);
        if is_agent {
            let reason = if how == Shutdown::Brutal { ExitReason::Killed } else { ExitReason::Shutdown };
            return self.out.push(Action::Stop { child, reason, how });
        }
        self.begin_end(child, None);
        match how {
            Shutdown::Brutal => self.kill(child),
            Shutdown::AfterMs(ms) => self.kill_after(child, ms),
            Shutdown::Infinity => {}
        }
    }

    fn kill_after(&mut self, supervisor: ChildId, ms: u32) {
        let until_ns = self.now_ns.saturating_add(u64::from(ms) * 1_000_000);
        if let Some(supervisor) = self.nodes.supervisor_mut(supervisor) {
            supervisor.kill_at_ns = Some(until_ns);
        }
        self.out.push(Action::Wait { child: supervisor, until_ns });
    }

    /// The patience with a stopping supervisor is at its end: all below it are killed at once.
    pub(super) fn kill(&mut self, id: ChildId) {
        let Some(supervisor) = self.nodes.supervisor_mut(id) else { return };
        supervisor.brutal = true;
        // From the beginning: those that are stopping are asked again.
        supervisor.op = Op::Stop(Stop { floor: 0, cursor: u64::MAX, then: Then::End });
        self.work.push_back(id);
    }

    /// Begins the end of a supervisor. `failure`: what it fails with, if it never ran.
    pub(super) fn begin_end(&mut self, id: ChildId, failure: Option<ExitReason>) {
        self.clear_starts(id);
        let Some(supervisor) = self.nodes.supervisor_mut(id) else { return };
        let cursor = match supervisor.op {
            Op::Down | Op::Stop(Stop { then: Then::End, .. }) => return,
            Op::Stop(Stop { cursor, .. }) => cursor,
            Op::Init | Op::Idle | Op::Regroup => u64::MAX,
        };
        let is_failure = failure.is_some();
        supervisor.failure = failure;
        supervisor.op = Op::Stop(Stop { floor: 0, cursor, then: Then::End });
        self.work.push_back(id);
        if is_failure && id == self.root {
            self.down.get_or_insert(Down::StartFailed);
        }
    }

    /// Goes on stopping, from the right.
    pub(super) fn advance(&mut self, id: ChildId) {
        while let Some(supervisor) = self.nodes.supervisor(id)
            && let Op::Stop(stop) = supervisor.op
        {
            let brutal = supervisor.brutal;
            let at_once = stop.then == Then::End && (brutal || supervisor.plan.policy.strategy == Strategy::Dynamic);
            let Some((&position, &child)) = supervisor.children.range(stop.floor..stop.cursor).next_back() else {
                return self.all_asked(id, stop.then);
            };
            if !self.pass(child, stop.then, brutal) && !at_once {
                return;
            }
            if let Some(supervisor) = self.nodes.supervisor_mut(id) {
                supervisor.op = Op::Stop(Stop { cursor: position, ..stop });
            }
        }
    }

    /// Does what stopping means for one child; whether it does not run now.
    fn pass(&mut self, child: ChildId, then: Then, brutal: bool) -> bool {
        let Some(node) = self.nodes.get(child) else { return true };
        match node.state {
            State::Starting(_) | State::Running => {
                self.stop_child(child, brutal);
                return false;
            }
            State::Stopping => {
                if brutal {
                    self.hurry(child);
                }
                return false;
            }
            _ => {}
        }
        if matches!(then, Then::Restart(_)) {
            if node.restart == Restart::Temporary {
                self.remove(child);
            } else if !matches!(node.state, State::Asked(Why::Added)) {
                self.nodes.set_state(child, State::Due(Why::Again));
            }
        }
        true
    }

    /// Tells a child that is stopping that it is now killed.
    fn hurry(&mut self, child: ChildId) {
        let Some(node) = self.nodes.get(child) else { return };
        if matches!(node.kind, Kind::Supervisor(_)) {
            self.kill(child);
        } else if node.shutdown != Shutdown::Brutal {
            self.out.push(Action::Stop { child, reason: ExitReason::Killed, how: Shutdown::Brutal });
        }
    }

    fn all_asked(&mut self, id: ChildId, then: Then) {
        match then {
            Then::Restart(cause) => self.group_stopped(id, cause),
            Then::End => {
                if self.nodes.supervisor(id).is_some_and(|supervisor| supervisor.tally.active() == 0) {
                    self.end(id);
                }
            }
        }
    }

    /// All children of a supervisor are stopped, and so is it now.
    fn end(&mut self, id: ChildId) {
        let Some(supervisor) = self.nodes.supervisor_mut(id) else { return };
        supervisor.op = Op::Down;
        supervisor.window.clear();
        supervisor.inbox.clear();
        supervisor.brutal = false;
        supervisor.kill_at_ns = None;
        supervisor.next_position = supervisor.plan.children.len() as u64;
        let failure = supervisor.failure.take();
        let children: Vec<_> = supervisor.children.values().copied().collect();
        for child in children {
            self.retire(child);
        }
        if id == self.root {
            return self.hive_down(failure.unwrap_or(ExitReason::Shutdown));
        }
        match self.nodes.get(id).map(|node| &node.state) {
            Some(State::Starting(_)) => self.on_start_failed(id, failure.unwrap_or(ExitReason::Shutdown)),
            Some(State::Running) => self.on_exited(id, ExitReason::Shutdown),
            _ => self.on_stopped(id),
        }
    }

    /// What becomes of a child whose supervisor ended.
    fn retire(&mut self, child: ChildId) {
        let Some(node) = self.nodes.get_mut(child) else { return };
        if node.origin == Origin::Added {
            return self.remove(child);
        }
        node.noted = false;
        node.stop_wanted = false;
        node.streak = 0;
        let was_called = std::mem::take(&mut node.called);
        self.nodes.set_state(child, State::Resting);
        if was_called {
            self.out.push(Action::Resting { child });
        }
    }

    /// A child that was told to stop does not run any more.
    pub(super) fn on_stopped(&mut self, child: ChildId) {
        let Some(node) = self.nodes.get(child) else { return };
        if node.state != State::Stopping {
            return;
        }
        let Some(parent) = node.parent else { return };
        self.work.push_back(parent);
        if matches!(self.op_of(Some(parent)), Op::Stop(_)) {
            self.nodes.set_state(child, State::Resting);
        } else {
            self.rest(child);
        }
    }

    /// `terminate_child`, now that its supervisor looks at it.
    pub(super) fn end_child(&mut self, child: ChildId) {
        let Some(node) = self.nodes.get(child) else { return };
        let Some(parent) = node.parent else { return };
        match node.state {
            State::Starting(_) | State::Running => self.stop_child(child, false),
            State::Stopping => {}
            State::Waiting { .. } | State::Retry { .. } if self.is_grouped(parent) => {
                let group = self.waiting_group(parent, child);
                group.into_iter().chain([child]).for_each(|child| self.rest(child));
            }
            _ => self.rest(child),
        }
    }

    /// A child is at rest while its supervisor goes on: its spec is kept, unless it is temporary or the supervisor
    /// dynamic.
    pub(super) fn rest(&mut self, child: ChildId) {
        let Some(node) = self.nodes.get_mut(child) else { return };
        node.stop_wanted = false;
        node.called = false;
        node.streak = 0;
        let (restart, parent) = (node.restart, node.parent);
        if restart == Restart::Temporary || parent.is_some_and(|parent| self.is_dynamic(parent)) {
            return self.remove(child);
        }
        self.nodes.set_state(child, State::Resting);
        let children = self.nodes.with_descendants(child);
        self.out.extend(children.into_iter().map(|child| Action::Resting { child }));
    }

    pub(super) fn is_dynamic(&self, id: ChildId) -> bool {
        self.nodes.supervisor(id).is_some_and(|supervisor| supervisor.plan.policy.strategy == Strategy::Dynamic)
    }

    /// Removes the spec of a child that does not run, and all below it.
    pub(super) fn remove(&mut self, child: ChildId) {
        let gone = self.uproot(child);
        self.out.extend(gone.into_iter().map(|(child, name)| Action::Gone { child, name }));
    }
}
