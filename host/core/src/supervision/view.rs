//! Looking at the tree. Reads only.

use std::sync::Arc;

use crate::name::Name;
use crate::spec::{AgentSpec, Restart, Shutdown};

use super::node::{ChildId, Kind, Node, Origin, Status};
use super::policy::Policy;
use super::tree::Tree;

/// What OTP's `count_children` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Children, whatever they are doing.
    pub specs: u32,
    /// Those that run, stopping ones included.
    pub active: u32,
    /// Those that are supervisors.
    pub supervisors: u32,
    /// Those that are agents.
    pub workers: u32,
}

/// A child as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Child<'a> {
    node: &'a Node,
}

impl<'a> Child<'a> {
    /// Its name.
    pub fn name(&self) -> &'a Name {
        &self.node.name
    }

    /// Its supervisor; none for the root.
    pub fn supervisor(&self) -> Option<ChildId> {
        self.node.parent
    }

    /// What it is, if it is an agent.
    pub fn agent(&self) -> Option<&'a Arc<AgentSpec>> {
        match &self.node.kind {
            Kind::Agent(spec) => Some(spec),
            Kind::Supervisor(_) => None,
        }
    }

    /// Its rules, if it is a supervisor.
    pub fn policy(&self) -> Option<&'a Policy> {
        match &self.node.kind {
            Kind::Agent(_) => None,
            Kind::Supervisor(supervisor) => Some(&supervisor.plan.policy),
        }
    }

    /// Restarts in its window at this time, if it is a supervisor.
    pub fn restarts(&self, now_ns: u64) -> u32 {
        match &self.node.kind {
            Kind::Agent(_) => 0,
            Kind::Supervisor(supervisor) => supervisor.window.count(now_ns, supervisor.plan.policy.period_ms),
        }
    }

    /// What it is doing.
    pub fn status(&self) -> Status {
        self.node.state.status()
    }

    /// Whether something runs, or is starting or stopping.
    pub fn is_active(&self) -> bool {
        self.node.state.is_active()
    }

    /// When it is started again.
    pub fn restart(&self) -> Restart {
        self.node.restart
    }

    /// How long it may take to stop.
    pub fn shutdown(&self) -> Shutdown {
        self.node.shutdown
    }

    /// Whether it is in the spec of its supervisor; if not, it was added by a call.
    pub fn is_declared(&self) -> bool {
        self.node.origin == Origin::Declared
    }
}

impl Tree {
    /// The root.
    pub fn root(&self) -> ChildId {
        self.root
    }

    /// A child by its number. None: it is gone.
    pub fn child(&self, id: ChildId) -> Option<Child<'_>> {
        self.nodes.get(id).map(|node| Child { node })
    }

    /// A child by its name.
    pub fn find(&self, name: &str) -> Option<ChildId> {
        self.nodes.find(name)
    }

    /// The children of a supervisor, in start order.
    pub fn children(&self, supervisor: ChildId) -> impl DoubleEndedIterator<Item = ChildId> + '_ {
        self.nodes.supervisor(supervisor).into_iter().flat_map(|supervisor| supervisor.children.values().copied())
    }

    /// Agents and supervisors, the root included.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }
}
