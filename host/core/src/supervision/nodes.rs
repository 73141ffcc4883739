//! The table of all children, and the only place where a state changes: the tallies and queues of supervisors
//! follow it.

use std::collections::HashMap;

use crate::name::Name;

use super::node::{ChildId, Kind, Node, State, Supervisor, Why};

#[derive(Debug, Default)]
pub(super) struct Nodes {
    slots: Vec<Slot>,
    free: Vec<u32>,
    names: HashMap<Name, ChildId>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    node: Option<Node>,
}

impl Nodes {
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn find(&self, name: &str) -> Option<ChildId> {
        self.names.get(name).copied()
    }

    pub(super) fn get(&self, id: ChildId) -> Option<&Node> {
        let slot = self.slots.get(id.index as usize)?;
        slot.node.as_ref().filter(|_| slot.generation == id.generation)
    }

    pub(super) fn get_mut(&mut self, id: ChildId) -> Option<&mut Node> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.node.as_mut().filter(|_| slot.generation == id.generation)
    }

    pub(super) fn supervisor(&self, id: ChildId) -> Option<&Supervisor> {
        match &self.get(id)?.kind {
            Kind::Supervisor(supervisor) => Some(supervisor),
            Kind::Agent(_) => None,
        }
    }

    pub(super) fn supervisor_mut(&mut self, id: ChildId) -> Option<&mut Supervisor> {
        match &mut self.get_mut(id)?.kind {
            Kind::Supervisor(supervisor) => Some(supervisor),
            Kind::Agent(_) => None,
        }
    }

    /// None: the name is taken.
    pub(super) fn insert(&mut self, node: Node) -> Option<ChildId> {
        if self.names.contains_key(&node.name) {
            return None;
        }
        let (name, parent, position) = (node.name.clone(), node.parent, node.position);
        let is_supervisor = matches!(node.kind, Kind::Supervisor(_));
        let id = self.place(node)?;
        self.names.insert(name, id);
        if let Some(supervisor) = parent.and_then(|parent| self.supervisor_mut(parent)) {
            supervisor.children.insert(position, id);
            supervisor.next_position = supervisor.next_position.max(position + 1);
            supervisor.supervisors += u32::from(is_supervisor);
        }
        Some(id)
    }

    fn place(&mut self, node: Node) -> Option<ChildId> {
        if let Some(index) = self.free.pop() {
            let slot = self.slots.get_mut(index as usize)?;
            slot.node = Some(node);
            return Some(ChildId { index, generation: slot.generation });
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot { generation: 0, node: Some(node) });
        Some(ChildId { index, generation: 0 })
    }

    /// Takes a child out of the table and from its supervisor. What is below it must be out already.
    pub(super) fn remove(&mut self, id: ChildId) -> Option<Node> {
        self.set_state(id, State::Resting);
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let node = slot.node.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        self.names.remove(&node.name);
        if let Some(supervisor) = node.parent.and_then(|parent| self.supervisor_mut(parent)) {
            supervisor.children.remove(&node.position);
            supervisor.supervisors -= u32::from(matches!(node.kind, Kind::Supervisor(_)));
        }
        Some(node)
    }

    pub(super) fn set_state(&mut self, id: ChildId, state: State) {
        let Some(node) = self.get_mut(id) else { return };
        let ticket = if matches!(state, State::Due(_)) { None } else { node.ticket.take() };
        let (old, new) = (node.state.count(node.significant), state.count(node.significant));
        node.state = state;
        let parent = node.parent;
        if let Some(supervisor) = parent.and_then(|parent| self.supervisor_mut(parent)) {
            supervisor.tally.change(old, new);
            if let Some(ticket) = ticket {
                supervisor.starts.remove(&ticket);
            }
        }
    }

    /// Puts a child at the end of its supervisor's queue of starts. It leaves it with its state.
    pub(super) fn queue(&mut self, id: ChildId, why: Why) {
        self.set_state(id, State::Due(why));
        let Some(node) = self.get(id).filter(|node| node.ticket.is_none()) else { return };
        let Some(supervisor) = node.parent.and_then(|parent| self.supervisor_mut(parent)) else { return };
        let ticket = supervisor.next_ticket;
        supervisor.next_ticket += 1;
        supervisor.starts.insert(ticket, id);
        if let Some(node) = self.get_mut(id) {
            node.ticket = Some(ticket);
        }
    }

    /// A child and all below it, each before what is below it.
    pub(super) fn with_descendants(&self, id: ChildId) -> Vec<ChildId> {
        let mut ids = vec![id];
        let mut next = 0;
        while let Some(&id) = ids.get(next) {
            if let Some(supervisor) = self.supervisor(id) {
                ids.extend(supervisor.children.values());
            }
            next += 1;
        }
        ids
    }

    /// How many supervisors there are from the root to this one, both included.
    pub(super) fn depth(&self, id: ChildId) -> usize {
        std::iter::successors(Some(id), |&id| self.get(id)?.parent).count()
    }
}
