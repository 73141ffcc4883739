//! Changing the tree while it runs: OTP's calls and their errors. What each call is answered with is said at [`Tree`].
//! Never starts or stops anything by itself.

use crate::name::shown;
use crate::spec::ChildSpec;

use super::action::Action;
use super::error::ManageError;
use super::node::{ChildId, Node, Origin, State, Status, Why};
use super::plan::{Plan, check_child};
use super::tree::Tree;
use super::view::Counts;

impl Tree {
    /// Adds a child at the right end of a supervisor and starts it. The name is taken from now on; if the start fails,
    /// the spec is removed again.
    ///
    /// # Errors
    /// `NotFound`, `NotASupervisor` and `SupervisorDown` about the supervisor; `Spec` if the spec contradicts itself or
    /// the supervisor; `AlreadyStarted` and `AlreadyPresent` if one of its names is taken anywhere in the hive.
    pub fn start_child(
        &mut self,
        supervisor: &str,
        spec: &ChildSpec,
        now_ns: u64,
    ) -> Result<(ChildId, Vec<Action>), ManageError> {
        let (id, node) = self.named(supervisor)?;
        let Some(above) = self.nodes.supervisor(id) else { return Err(ManageError::NotASupervisor(node.name.clone())) };
        if !above.is_open() {
            return Err(ManageError::SupervisorDown(node.name.clone()));
        }
        let errors = check_child(spec, &node.name, above.plan.policy.auto_shutdown, self.nodes.depth(id));
        if !errors.is_empty() {
            return Err(ManageError::Spec(errors));
        }
        let position = above.next_position;
        let plan = Plan::of(spec);
        self.refuse_taken(&plan)?;
        let Some(child) = self.plant(&plan, Some(id), position, Origin::Added) else {
            return Err(ManageError::AlreadyPresent(plan.name().clone()));
        };
        self.now_ns = now_ns;
        self.call(child, State::Asked(Why::Added));
        Ok((child, self.finish_work()))
    }

    fn refuse_taken(&self, plan: &Plan) -> Result<(), ManageError> {
        for name in plan.names() {
            let Some(node) = self.nodes.find(name.as_str()).and_then(|id| self.nodes.get(id)) else { continue };
            return Err(match node.state.status() {
                Status::Running | Status::Stopping => ManageError::AlreadyStarted(name.clone()),
                Status::Starting | Status::Restarting | Status::Resting => ManageError::AlreadyPresent(name.clone()),
            });
        }
        Ok(())
    }

    /// Stops a child, whatever it is doing, and keeps its spec, unless it is temporary or its supervisor dynamic. At
    /// rest already: that is no error. Never ends a supervisor with significant children.
    ///
    /// # Errors
    /// `NotFound`; the root is nobody's child and not found either.
    pub fn terminate_child(&mut self, child: &str, now_ns: u64) -> Result<Vec<Action>, ManageError> {
        let (id, node) = self.named_child(child)?;
        let is_down = node.parent.and_then(|parent| self.nodes.supervisor(parent)).is_none_or(|above| !above.is_open());
        let is_resting = node.state == State::Resting;
        self.now_ns = now_ns;
        if is_resting && is_down {
            self.out.push(Action::Resting { child: id });
        } else if let Some(node) = self.nodes.get_mut(id) {
            node.stop_wanted = true;
            node.called = true;
            self.note(id);
        }
        Ok(self.finish_work())
    }

    /// Starts a child that is at rest. Not counted as a restart; if the start fails, it stays at rest.
    ///
    /// # Errors
    /// `NotFound`, `Dynamic`, `Running`, `Restarting`, and `SupervisorDown` if its supervisor does not run.
    pub fn restart_child(&mut self, child: &str, now_ns: u64) -> Result<Vec<Action>, ManageError> {
        let (id, node) = self.resting_child(child)?;
        if let Some((name, above)) =
            node.parent.and_then(|id| Some((&self.nodes.get(id)?.name, self.nodes.supervisor(id)?)))
            && !above.is_open()
        {
            return Err(ManageError::SupervisorDown(name.clone()));
        }
        self.now_ns = now_ns;
        if let Some(node) = self.nodes.get_mut(id) {
            node.called = true;
        }
        self.call(id, State::Asked(Why::Asked));
        Ok(self.finish_work())
    }

    /// Removes the spec of a child that is at rest, and all below it. If it was declared, it comes back when its
    /// supervisor starts again.
    ///
    /// # Errors
    /// `NotFound`, `Dynamic`, `Running`, `Restarting`.
    pub fn delete_child(&mut self, child: &str, now_ns: u64) -> Result<Vec<Action>, ManageError> {
        let (id, _) = self.resting_child(child)?;
        self.now_ns = now_ns;
        self.remove(id);
        Ok(self.finish_work())
    }

    /// Counts the children of a supervisor as OTP does.
    ///
    /// # Errors
    /// `NotFound`, `NotASupervisor`.
    pub fn count_children(&self, supervisor: &str) -> Result<Counts, ManageError> {
        let (id, node) = self.named(supervisor)?;
        let Some(it) = self.nodes.supervisor(id) else { return Err(ManageError::NotASupervisor(node.name.clone())) };
        let specs = u32::try_from(it.children.len()).unwrap_or(u32::MAX);
        Ok(Counts {
            specs,
            active: it.tally.running + it.tally.stopping,
            supervisors: it.supervisors,
            workers: specs - it.supervisors,
        })
    }

    fn call(&mut self, child: ChildId, state: State) {
        self.nodes.set_state(child, state);
        self.note(child);
    }

    fn named(&self, name: &str) -> Result<(ChildId, &Node), ManageError> {
        let id = self.nodes.find(name);
        id.and_then(|id| Some((id, self.nodes.get(id)?))).ok_or_else(|| ManageError::NotFound(shown(name, 128)))
    }

    fn named_child(&self, name: &str) -> Result<(ChildId, &Node), ManageError> {
        let (id, node) = self.named(name)?;
        if id == self.root {
            return Err(ManageError::NotFound(shown(name, 128)));
        }
        Ok((id, node))
    }

    /// A child of a supervisor that is not dynamic, at rest.
    fn resting_child(&self, name: &str) -> Result<(ChildId, &Node), ManageError> {
        let (id, node) = self.named_child(name)?;
        if node.parent.is_some_and(|parent| self.is_dynamic(parent)) {
            return Err(ManageError::Dynamic(node.name.clone()));
        }
        match node.state.status() {
            Status::Resting => Ok((id, node)),
            Status::Restarting => Err(ManageError::Restarting(node.name.clone())),
            Status::Starting | Status::Running | Status::Stopping => Err(ManageError::Running(node.name.clone())),
        }
    }
}
