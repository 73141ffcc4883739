//! A store in memory that fails when a test tells it to: no room, a broken disk, unreadable rows, a slow commit.

use std::sync::Arc;
use std::sync::{Condvar, Mutex};

use bytes::Bytes;
use skep_core::{AgentId, Seq};
use skep_store::{Commit, Error, MemoryStore, Page, Space, Store, StoredMessage, Write};

/// What it does with a commit that consumes a message: those of turns, not those that only take a message in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// Commits it.
    Commit,
    /// Keeps it waiting until the mode changes.
    Hold,
    /// Says that there is no room.
    NoRoom,
    /// Says that the disk is broken.
    Break,
}

/// See the module. Clones are the same store.
#[derive(Clone)]
pub struct FaultyStore(Arc<Shared>);

struct Shared {
    store: MemoryStore,
    mode: Mutex<Mode>,
    changed: Condvar,
}

struct Mode {
    turns: Turns,
    /// The same for every other commit.
    others: Turns,
    /// Reads of state fail.
    unreadable: bool,
    refused: u64,
}

impl Default for FaultyStore {
    fn default() -> Self {
        let mode = Mode { turns: Turns::Commit, others: Turns::Commit, unreadable: false, refused: 0 };
        Self(Arc::new(Shared { store: MemoryStore::new(), mode: Mutex::new(mode), changed: Condvar::new() }))
    }
}

impl FaultyStore {
    /// From now on.
    pub fn turns(&self, turns: Turns) {
        self.0.mode.lock().expect("a mode").turns = turns;
        self.0.changed.notify_all();
    }

    /// From now on, with every commit.
    pub fn all(&self, what: Turns) {
        self.0.mode.lock().expect("a mode").others = what;
        self.turns(what);
    }

    /// Whether state can be read from now on.
    pub fn unreadable(&self, unreadable: bool) {
        self.0.mode.lock().expect("a mode").unreadable = unreadable;
    }

    /// Commits that it has refused.
    pub fn refused(&self) -> u64 {
        self.0.mode.lock().expect("a mode").refused
    }

    fn readable(&self, space: Space) -> Result<(), Error> {
        if space == Space::State && self.0.mode.lock().expect("a mode").unreadable {
            return Err(Error::Corrupt { place: "state".to_owned(), detail: "a bit has flipped".to_owned() });
        }
        Ok(())
    }
}

impl Store for FaultyStore {
    fn commit(&self, commit: &Commit) -> Result<(), Error> {
        let of_turn = commit.writes.iter().any(|write| matches!(write, Write::TakeMessage { .. }));
        let mut mode = self.0.mode.lock().expect("a mode");
        let what = |mode: &Mode| if of_turn { mode.turns } else { mode.others };
        mode = self.0.changed.wait_while(mode, |mode| what(mode) == Turns::Hold).expect("a mode");
        let refusal = match what(&mode) {
            Turns::NoRoom => Some(Error::NoRoom("as a test has told it".to_owned())),
            Turns::Break => Some(Error::Fatal("as a test has told it".to_owned())),
            Turns::Commit | Turns::Hold => None,
        };
        if let Some(error) = refusal {
            mode.refused += 1;
            return Err(error);
        }
        drop(mode);
        self.0.store.commit(commit)
    }

    fn get(&self, space: Space, owner: AgentId, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        self.readable(space)?;
        self.0.store.get(space, owner, keys)
    }

    fn scan(
        &self,
        space: Space,
        owner: AgentId,
        prefix: &[u8],
        after: Option<&[u8]>,
        bytes_max: usize,
    ) -> Result<Page, Error> {
        self.readable(space)?;
        self.0.store.scan(space, owner, prefix, after, bytes_max)
    }

    fn messages(&self, after: Seq, count_max: usize) -> Result<Vec<StoredMessage>, Error> {
        self.0.store.messages(after, count_max)
    }

    fn owners(&self, space: Space) -> Result<Vec<AgentId>, Error> {
        self.0.store.owners(space)
    }
}
