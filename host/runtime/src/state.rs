//! What is known in memory of an agent's state: all of it for an agent without durability; for others the writes that
//! wait for their commit, and a bounded cache of what is committed.

use std::collections::{BTreeMap, HashMap, VecDeque};

use skep_core::spec::Durability;
use skep_core::{Bytes, TurnId};

/// The cache of one agent; beyond it the cache starts anew. A persisted struct is one entry.
const CACHE_BYTES_MAX: usize = 256 << 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct StateBook {
    /// The whole state of an agent without durability.
    memory: Option<BTreeMap<Bytes, Bytes>>,
    /// The newest uncommitted write of each key, and its turn.
    pending: BTreeMap<Bytes, (TurnId, Option<Bytes>)>,
    cache: HashMap<Bytes, Option<Bytes>>,
    cache_bytes: usize,
    /// Bytes of all keys and values, uncommitted writes included.
    pub(crate) bytes: u64,
    /// What each uncommitted turn has added to them.
    added_bytes: VecDeque<(TurnId, i64)>,
}

/// See [`StateBook::snapshot`].
#[derive(Debug)]
pub(crate) struct Snapshot {
    memory: Option<BTreeMap<Bytes, Bytes>>,
    bytes: u64,
}

/// What memory says of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Its value, or that there is none.
    Value(Option<Bytes>),
    /// Ask the store.
    Miss,
}

impl StateBook {
    pub(crate) fn new(durability: Durability) -> Self {
        Self {
            memory: (durability == Durability::None).then(BTreeMap::new),
            pending: BTreeMap::new(),
            cache: HashMap::new(),
            cache_bytes: 0,
            bytes: 0,
            added_bytes: VecDeque::new(),
        }
    }

    pub(crate) fn get(&self, key: &Bytes) -> Known {
        if let Some(memory) = &self.memory {
            return Known::Value(memory.get(key).cloned());
        }
        if let Some((_, value)) = self.pending.get(key) {
            return Known::Value(value.clone());
        }
        self.cache.get(key).map_or(Known::Miss, |value| Known::Value(value.clone()))
    }

    /// The whole state, if memory has it.
    pub(crate) fn memory(&self) -> Option<&BTreeMap<Bytes, Bytes>> {
        self.memory.as_ref()
    }

    /// Uncommitted writes, in the order of the keys.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.pending.iter().map(|(key, (_, value))| (key, value.as_ref()))
    }

    /// Remembers what the store said.
    pub(crate) fn remember(&mut self, key: Bytes, value: Option<Bytes>) {
        let weight = key.len() + value.as_ref().map_or(0, Bytes::len) + 64;
        if self.cache_bytes + weight > CACHE_BYTES_MAX {
            self.cache.clear();
            self.cache_bytes = 0;
        }
        if weight <= CACHE_BYTES_MAX && self.cache.insert(key, value).is_none() {
            self.cache_bytes += weight;
        }
    }

    /// A turn has ended with this write.
    pub(crate) fn write(&mut self, turn: TurnId, key: Bytes, value: Option<Bytes>, old_bytes: u64) {
        let new_bytes = value.as_ref().map_or(0, |value| (key.len() + value.len()) as u64);
        self.bytes = (self.bytes + new_bytes).saturating_sub(old_bytes);
        if self.memory.is_none() {
            self.add_bytes(turn, new_bytes.cast_signed().saturating_sub(old_bytes.cast_signed()));
        }
        match (&mut self.memory, value) {
            (Some(memory), Some(value)) => drop(memory.insert(key, value)),
            (Some(memory), None) => drop(memory.remove(&key)),
            (None, value) => drop(self.pending.insert(key, (turn, value))),
        }
    }

    fn add_bytes(&mut self, turn: TurnId, bytes: i64) {
        match self.added_bytes.back_mut().filter(|(of, _)| *of == turn) {
            Some((_, added)) => *added += bytes,
            None => self.added_bytes.push_back((turn, bytes)),
        }
    }

    /// The turn is committed: its writes are no longer pending.
    pub(crate) fn committed(&mut self, turn: TurnId) {
        while self.added_bytes.front().is_some_and(|(of, _)| *of <= turn) {
            self.added_bytes.pop_front();
        }
        let mut done = Vec::new();
        self.pending.retain(|key, (of, value)| {
            let keep = *of > turn;
            if !keep {
                done.push((key.clone(), value.take()));
            }
            keep
        });
        for (key, value) in done {
            self.forget(&key);
            self.remember(key, value);
        }
    }

    fn forget(&mut self, key: &Bytes) {
        if let Some(value) = self.cache.remove(key) {
            let weight = key.len() + value.as_ref().map_or(0, Bytes::len) + 64;
            self.cache_bytes = self.cache_bytes.saturating_sub(weight);
        }
    }

    /// Nothing uncommitted stands any more.
    pub(crate) fn undo(&mut self) {
        self.pending.clear();
        let added: i64 = self.added_bytes.drain(..).map(|(_, bytes)| bytes).sum();
        self.bytes = self.bytes.saturating_add_signed(added.saturating_neg());
    }

    /// What it takes to come back to now. The agent is quiet, so nothing is pending.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot { memory: self.memory.clone(), bytes: self.bytes }
    }

    pub(crate) fn restore(&mut self, before: Snapshot) {
        self.pending.clear();
        self.added_bytes.clear();
        self.memory = before.memory;
        self.bytes = before.bytes;
    }

    /// An agent without durability has lost its memory.
    pub(crate) fn lose(&mut self) {
        if let Some(memory) = &mut self.memory {
            memory.clear();
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn uncommitted_writes_are_read_and_then_cached() {
        let mut book = StateBook::new(Durability::Full);
        assert_eq!(book.get(&bytes("a")), Known::Miss);
        book.write(TurnId(1), bytes("a"), Some(bytes("1")), 0);
        book.write(TurnId(2), bytes("a"), Some(bytes("22")), 2);
        assert_eq!((book.get(&bytes("a")), book.bytes), (Known::Value(Some(bytes("22"))), 3));
        book.committed(TurnId(1));
        assert_eq!(book.pending().count(), 1);
        book.committed(TurnId(2));
        assert_eq!(book.pending().count(), 0);
        assert_eq!(book.get(&bytes("a")), Known::Value(Some(bytes("22"))));
    }

    #[test]
    fn undone_writes_are_not_read() {
        let mut book = StateBook::new(Durability::Full);
        book.remember(bytes("a"), Some(bytes("1")));
        book.bytes = 2;
        book.write(TurnId(1), bytes("b"), Some(bytes("123")), 0);
        book.write(TurnId(2), bytes("a"), None, 2);
        assert_eq!((book.get(&bytes("a")), book.bytes), (Known::Value(None), 4));
        book.committed(TurnId(1));
        book.undo();
        assert_eq!(book.bytes, 6);
        assert_eq!(book.get(&bytes("a")), Known::Value(Some(bytes("1"))));
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut book = StateBook::new(Durability::Full);
        for count in 0..100u32 {
            book.remember(Bytes::from(count.to_string()), Some(Bytes::from(vec![0; 10_000])));
            assert!(book.cache_bytes <= CACHE_BYTES_MAX);
        }
    }
}
