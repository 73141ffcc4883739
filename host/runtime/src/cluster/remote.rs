//! Agents of other hosts, and the numbers that stand for them here. A number is kept with the journal, since messages,
//! asks and replies are kept by number; it is given once and never means anything else. Never whether an agent is there.

use std::collections::HashMap;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use skep_core::{AgentId, Bytes, IdMap, Name};
use skep_store::{Space, Write};

use crate::record::{Unreadable, decode, encode};

/// Agents of other hosts that are known by number: beyond it the ones that are new cannot be addressed.
const REMOTES_MAX: usize = 65_536;
/// What the keys of their records begin with.
const PREFIX: &[u8] = b"remote/";

/// Where a number leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Remote {
    pub(crate) host: Name,
    /// None: whoever is subscribed there to what is published.
    pub(crate) agent: Option<Name>,
}

impl Remote {
    /// The name for people and for guests.
    pub(crate) fn name(&self) -> Name {
        let whole = || Name::new(&format!("subscribers@{}", self.host)).unwrap_or_else(|_| self.host.clone());
        self.agent.clone().unwrap_or_else(whole)
    }
}

#[derive(Serialize, Deserialize)]
struct RemoteRecord {
    host: String,
    agent: Option<String>,
}

/// The number that a record is of; none if it is of another sort. No agent of this host may have it, whether the host is
/// one of many by now or not.
pub(crate) fn number_of(key: &[u8]) -> Option<AgentId> {
    let number = key.strip_prefix(PREFIX)?.try_into().ok()?;
    Some(AgentId(u32::from_be_bytes(number)))
}

/// See the module.
#[derive(Default)]
pub(crate) struct Remotes {
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    by_id: IdMap<AgentId, Remote>,
    ids: HashMap<Remote, AgentId>,
    /// By name: the one that was given last.
    named: HashMap<Name, AgentId>,
}

impl Remotes {
    pub(crate) fn get(&self, id: AgentId) -> Option<Remote> {
        self.table.read().by_id.get(&id).cloned()
    }

    pub(crate) fn has(&self, id: AgentId) -> bool {
        self.table.read().by_id.contains_key(&id)
    }

    /// The number of an agent. If it is a new one, of `new_id`, the write that keeps it goes to `keep` before anybody else
    /// sees the number. None: there are too many.
    pub(super) fn id_of(
        &self,
        remote: Remote,
        new_id: impl FnOnce() -> AgentId,
        keep: impl FnOnce(Write),
    ) -> Option<AgentId> {
        if let Some(id) = self.table.read().ids.get(&remote) {
            return Some(*id);
        }
        let mut table = self.table.write();
        if let Some(id) = table.ids.get(&remote) {
            return Some(*id);
        }
        if table.ids.len() >= REMOTES_MAX {
            return None;
        }
        let id = new_id();
        let record =
            RemoteRecord { host: remote.host.to_string(), agent: remote.agent.as_ref().map(ToString::to_string) };
        let key: Bytes = [PREFIX, &id.0.to_be_bytes()].concat().into();
        keep(Write::Put { space: Space::Hive, owner: AgentId::OUTSIDE, key, value: encode(&record, b"") });
        table.insert(id, remote);
        Some(id)
    }

    /// Those of a host.
    pub(super) fn of_host(&self, host: &Name) -> Vec<AgentId> {
        let table = self.table.read();
        table.by_id.iter().filter(|(_, remote)| remote.host == *host).map(|(id, _)| *id).collect()
    }

    /// The number of an agent that has one.
    pub(super) fn known(&self, remote: &Remote) -> Option<AgentId> {
        self.table.read().ids.get(remote).copied()
    }

    /// The agent of this name that was known last, wherever it is.
    pub(crate) fn named(&self, name: &Name) -> Option<AgentId> {
        self.table.read().named.get(name).copied()
    }

    /// Takes in a record of the store; none if it is one of another sort.
    pub(crate) fn load(&self, key: &[u8], value: &Bytes) -> Result<Option<AgentId>, Unreadable> {
        let Some(id) = number_of(key) else { return Ok(None) };
        let (record, _) = decode::<RemoteRecord>("remote agent", value)?;
        let name =
            |text: &str| Name::new(text).map_err(|bad| Unreadable { what: "remote agent", why: bad.to_string() });
        let remote = Remote { host: name(&record.host)?, agent: record.agent.as_deref().map(name).transpose()? };
        self.table.write().insert(id, remote);
        Ok(Some(id))
    }
}

impl Table {
    fn insert(&mut self, id: AgentId, remote: Remote) {
        if let Some(name) = &remote.agent {
            self.named.insert(name.clone(), id);
        }
        self.ids.insert(remote.clone(), id);
        self.by_id.insert(id, remote);
    }
}
