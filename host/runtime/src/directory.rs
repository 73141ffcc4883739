//! Who is there: the table of agents and the registry of names. It belongs to the host, so nothing that crashes loses it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::{Mutex, RwLock};
use skep_core::registry::Registry;
use skep_core::{AgentId, Digest, IdMap, Lineage, Name};

use crate::cell::Cell;
use crate::cluster::Remotes;
use crate::error::Error;

/// Names of those that have gone: a search among them takes microseconds.
const FORMER_MAX: usize = 1_024;

/// An agent that has ended for good and whose state is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rested {
    pub(crate) id: AgentId,
    pub(crate) lineage: Lineage,
    /// Its first start was committed.
    pub(crate) started: bool,
    /// What its state was last written by.
    pub(crate) ran: Option<Digest>,
    pub(crate) is_session: bool,
}

/// See the module.
pub(crate) struct Directory {
    cells: RwLock<IdMap<AgentId, Arc<Cell>>>,
    pub(crate) registry: RwLock<Registry>,
    next_id: AtomicU32,
    /// Agents that have ended for good and whose state is kept: who comes under the name again is the same one.
    rested: Mutex<HashMap<Name, Rested>>,
    /// Those of them that are sessions, in the order in which they were opened.
    sessions: Mutex<BTreeMap<AgentId, Name>>,
    /// The names of those that have gone last: what they have sent still says from whom it is.
    former: Mutex<VecDeque<(AgentId, Name)>>,
    /// Agents of other hosts that have a number here.
    pub(crate) remotes: Remotes,
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self {
            cells: RwLock::default(),
            registry: RwLock::default(),
            next_id: AtomicU32::new(1),
            rested: Mutex::default(),
            sessions: Mutex::default(),
            former: Mutex::default(),
            remotes: Remotes::default(),
        }
    }

    /// A number that no agent has had since the host started.
    pub(crate) fn next_id(&self) -> AgentId {
        AgentId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Numbers up to this one are taken by what the store knows.
    pub(crate) fn taken_up_to(&self, id: AgentId) {
        self.next_id.fetch_max(id.0.saturating_add(1), Ordering::Relaxed);
    }

    pub(crate) fn insert(&self, cell: Arc<Cell>) {
        self.cells.write().insert(cell.id, cell);
    }

    /// Its name is free from here on. Whoever takes it finds what rests under it.
    pub(crate) fn remove(&self, id: AgentId, rested: Option<Rested>) -> Option<Arc<Cell>> {
        let mut registry = self.registry.write();
        let cell = self.cells.write().remove(&id);
        if let (Some(cell), Some(rested)) = (&cell, rested) {
            self.rest(cell.name.clone(), rested);
        }
        registry.remove(id);
        drop(registry);
        let cell = cell?;
        self.note_former(id, cell.name.clone());
        Some(cell)
    }

    pub(crate) fn cell(&self, id: AgentId) -> Option<Arc<Cell>> {
        self.cells.read().get(&id).cloned()
    }

    pub(crate) fn resolve(&self, name: &Name) -> Option<AgentId> {
        self.registry.read().id_of(name)
    }

    pub(crate) fn name_of(&self, id: AgentId) -> Option<Name> {
        let known = self.registry.read().name_of(id).cloned();
        let known = known.or_else(|| self.remotes.get(id).map(|remote| remote.name()));
        known.or_else(|| {
            let former = self.former.lock();
            former.iter().rev().find(|(of, _)| *of == id).map(|(_, name)| name.clone())
        })
    }

    /// As `name_of`, of whoever has ever had a number: one that nobody remembers is told by it.
    pub(crate) fn told_name(&self, id: AgentId) -> Name {
        let name = self.name_of(id).or_else(|| self.rested_name(id));
        name.or_else(|| Name::new(&format!("agent-{}", id.0)).ok()).unwrap_or_else(Name::reply)
    }

    /// How many agents there are.
    pub(crate) fn count(&self) -> usize {
        self.cells.read().len()
    }

    /// The agent of a text that an operator or a client gave.
    pub(crate) fn find(&self, text: &str) -> Result<Arc<Cell>, Error> {
        let id = self.registry.read().find_text(text);
        id.and_then(|id| self.cell(id)).ok_or_else(|| Error::NoAgent {
            agent: skep_core::name::shown(text, 128),
            similar: self.registry.read().similar(text),
        })
    }

    /// All of them, by number.
    pub(crate) fn all(&self) -> Vec<Arc<Cell>> {
        let mut cells: Vec<Arc<Cell>> = self.cells.read().values().cloned().collect();
        cells.sort_by_key(|cell| cell.id);
        cells
    }

    /// A number for one that is not there and will not come: its name can still be told.
    pub(crate) fn absent(&self, name: Name) -> AgentId {
        let id = self.next_id();
        self.note_former(id, name);
        id
    }

    fn note_former(&self, id: AgentId, name: Name) {
        let mut former = self.former.lock();
        if former.len() >= FORMER_MAX {
            former.pop_front();
        }
        former.push_back((id, name));
    }

    pub(crate) fn rest(&self, name: Name, rested: Rested) {
        if rested.is_session {
            self.sessions.lock().insert(rested.id, name.clone());
        }
        self.rested.lock().insert(name, rested);
    }

    pub(crate) fn take_rested(&self, name: &Name) -> Option<Rested> {
        let rested = self.rested.lock().remove(name)?;
        self.sessions.lock().remove(&rested.id);
        Some(rested)
    }

    pub(crate) fn is_session_at_rest(&self, name: &Name) -> bool {
        self.rested.lock().get(name).is_some_and(|rested| rested.is_session)
    }

    /// The first that was opened, if more sessions are at rest than this.
    pub(crate) fn session_over(&self, count_max: usize) -> Option<Name> {
        let sessions = self.sessions.lock();
        sessions.values().next().filter(|_| sessions.len() > count_max).cloned()
    }

    /// The sessions at rest whose names come after this one, by name.
    pub(crate) fn sessions_after(&self, after: &str, count_max: usize) -> Vec<Name> {
        let mut later: Vec<Name> =
            self.sessions.lock().values().filter(|name| name.as_str() > after).cloned().collect();
        later.sort_unstable();
        later.truncate(count_max);
        later
    }

    /// The number of the one that rests under a name.
    pub(crate) fn at_rest(&self, name: &Name) -> Option<AgentId> {
        self.rested.lock().get(name).map(|rested| rested.id)
    }

    /// Those at rest whose names come after this one, by name.
    pub(crate) fn rested_after(&self, after: &str, count_max: usize) -> Vec<(Name, AgentId)> {
        let rested = self.rested.lock();
        let later = rested.iter().filter(|(name, _)| name.as_str() > after);
        let mut later: Vec<_> = later.map(|(name, rested)| (name.clone(), rested.id)).collect();
        drop(rested);
        later.sort_unstable_by(|(name, _), (other, _)| name.as_str().cmp(other.as_str()));
        later.truncate(count_max);
        later
    }

    /// The name of one at rest.
    pub(crate) fn rested_name(&self, id: AgentId) -> Option<Name> {
        let rested = self.rested.lock();
        rested.iter().find(|(_, rested)| rested.id == id).map(|(name, _)| name.clone())
    }

    /// Ends the circle of owners at the end of the host.
    pub(crate) fn clear(&self) {
        self.cells.write().clear();
    }
}
