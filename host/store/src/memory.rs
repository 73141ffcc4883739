//! The store of hives without a data directory, and of tests: it survives nothing and never touches a disk.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::RwLock;
use skep_core::{AgentId, Message, MessageId, Seq};

use crate::store::{Commit, Error, Page, Space, Store, StoredMessage, Write};

/// Everything in two ordered maps.
#[derive(Debug, Default)]
pub struct MemoryStore {
    held: RwLock<Held>,
}

type Key = (Space, AgentId, Bytes);

#[derive(Debug, Default)]
struct Held {
    messages: BTreeMap<Seq, (AgentId, Message)>,
    records: BTreeMap<Key, Bytes>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Held {
    /// Finds whatever is wrong with a commit before any of it is applied.
    fn check(&self, commit: &Commit) -> Result<(), Error> {
        let mut rows: HashMap<Seq, Option<MessageId>> = HashMap::new();
        for write in &commit.writes {
            write.check()?;
            match write {
                Write::PutMessage { row, message, .. } => {
                    let there = rows.get(row).copied().unwrap_or_else(|| self.messages.get(row).map(|held| held.1.id));
                    if there.is_some_and(|id| id != message.id) {
                        return Err(Write::row_taken(*row));
                    }
                    rows.insert(*row, Some(message.id));
                }
                Write::TakeMessage { row } => {
                    rows.insert(*row, None);
                }
                Write::Put { .. } | Write::Delete { .. } | Write::DeleteAll { .. } => {}
            }
        }
        Ok(())
    }

    fn apply(&mut self, write: &Write) {
        match write {
            Write::PutMessage { row, to, message } => {
                let message = Message { row: Some(*row), ..message.clone() };
                self.messages.insert(*row, (*to, message));
            }
            Write::TakeMessage { row } => {
                self.messages.remove(row);
            }
            Write::Put { space, owner, key, value } => {
                self.records.insert((*space, *owner, key.clone()), value.clone());
            }
            Write::Delete { space, owner, key } => {
                self.records.remove(&(*space, *owner, key.clone()));
            }
            Write::DeleteAll { space, owner } => {
                let first = (*space, *owner, Bytes::new());
                let keys = self.records.range(first..).map(|(key, _)| key.clone());
                let keys: Vec<Key> = keys.take_while(|key| (key.0, key.1) == (*space, *owner)).collect();
                for key in keys {
                    self.records.remove(&key);
                }
            }
        }
    }
}

impl Store for MemoryStore {
    fn commit(&self, commit: &Commit) -> Result<(), Error> {
        let mut held = self.held.write();
        held.check(commit)?;
        commit.writes.iter().for_each(|write| held.apply(write));
        Ok(())
    }

    fn get(&self, space: Space, owner: AgentId, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        let held = self.held.read();
        Ok(keys.iter().map(|key| held.records.get(&(space, owner, key.clone())).cloned()).collect())
    }

    fn scan(
        &self,
        space: Space,
        owner: AgentId,
        prefix: &[u8],
        after: Option<&[u8]>,
        bytes_max: usize,
    ) -> Result<Page, Error> {
        let key = |key: &[u8]| (space, owner, Bytes::copy_from_slice(key));
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(key(after)),
            _ => Bound::Included(key(prefix)),
        };
        let (mut page, mut used_bytes) = (Page::default(), 0);
        let held = self.held.read();
        for ((at_space, at_owner, key), value) in held.records.range((from, Bound::Unbounded)) {
            let wanted = (*at_space, *at_owner) == (space, owner) && key.starts_with(prefix);
            if !wanted || !page.offer(key, value, &mut used_bytes, bytes_max) {
                break;
            }
        }
        Ok(page)
    }

    fn messages(&self, after: Seq, count_max: usize) -> Result<Vec<StoredMessage>, Error> {
        let held = self.held.read();
        let rows = held.messages.range((Bound::Excluded(after), Bound::Unbounded)).take(count_max);
        Ok(rows.map(|(_, (to, message))| StoredMessage { to: *to, message: message.clone() }).collect())
    }

    fn owners(&self, space: Space) -> Result<Vec<AgentId>, Error> {
        let held = self.held.read();
        let keys = held.records.keys().filter(|key| key.0 == space);
        Ok(keys.map(|key| key.1).collect::<BTreeSet<_>>().into_iter().collect())
    }
}
