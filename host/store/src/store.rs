//! The seam between the host and whatever keeps its data: five methods, each says what is true once it returns.

use bytes::Bytes;
use skep_core::{AgentId, Message, Seq};

/// A family of keys. The number is part of the format on disk and never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Space {
    /// What the hive knows of itself: the next numbers, the last clean stop.
    Hive = 1,
    /// One record an agent: its spec, lineage and plugin.
    Agent = 2,
    /// An agent's own state.
    State = 3,
    /// An agent's timers, by name.
    Timer = 4,
    /// Asks that an agent has open, by their id.
    Ask = 5,
    /// Replies that an agent owes, by the ask's id.
    Owed = 6,
    /// An agent's subscriptions, groups, links, monitors and what it registered.
    Handle = 7,
    /// Dead letters, in the order in which they died.
    DeadLetter = 8,
    /// Ids of messages that were handled, with the reply, for the window.
    Seen = 9,
    /// Replies to calls, until the caller's turn is committed.
    Call = 10,
}

/// One write. Applied in the order of its commit.
#[derive(Clone, Debug)]
pub enum Write {
    /// A message on its way to an agent; `row` is ascending over the whole hive.
    PutMessage {
        /// Its place.
        row: Seq,
        /// The receiver.
        to: AgentId,
        /// The message.
        message: Message,
    },
    /// A message that was consumed. One that is not there is no error.
    TakeMessage {
        /// Its place.
        row: Seq,
    },
    /// Sets a record.
    Put {
        /// The family.
        space: Space,
        /// Whose.
        owner: AgentId,
        /// The key, at most 512 bytes.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Removes a record. One that is not there is no error.
    Delete {
        /// The family.
        space: Space,
        /// Whose.
        owner: AgentId,
        /// The key.
        key: Bytes,
    },
    /// Removes all records of an owner in a space.
    DeleteAll {
        /// The family.
        space: Space,
        /// Whose.
        owner: AgentId,
    },
}

/// What one commit must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sync {
    /// The death of this process.
    Process,
    /// Power loss.
    Power,
}

/// Writes that become visible together or not at all: a whole group of turns.
#[derive(Clone, Debug)]
pub struct Commit {
    /// In order.
    pub writes: Vec<Write>,
    /// What it must survive.
    pub sync: Sync,
}

/// A message as it was kept.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// The receiver.
    pub to: AgentId,
    /// The message; its `row` is set.
    pub message: Message,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// A part of a scan, in the order of the keys.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// At least one, if there is any, whatever the limit.
    pub entries: Vec<Entry>,
    /// Whether there are more after these.
    pub more: bool,
}

/// Why the store cannot do it. Each names the place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data directory cannot be used.
    #[error("the data directory {path} cannot be used: {detail}")]
    Directory {
        /// Which.
        path: String,
        /// What the system said, with owner and mode where they matter.
        detail: String,
    },
    /// Another host has it.
    #[error("the data directory {path} is in use by {holder}")]
    Locked {
        /// Which.
        path: String,
        /// Process id, host and since when.
        holder: String,
    },
    /// It was written by a later version.
    #[error("the data is of format {found}, this version reads up to {supported}")]
    Format {
        /// What is there.
        found: u32,
        /// What can be read.
        supported: u32,
    },
    /// A row cannot be read.
    #[error("a row of {place} cannot be read: {detail}")]
    Corrupt {
        /// Table and key.
        place: String,
        /// What is wrong.
        detail: String,
    },
    /// The disk is full: the commit did not happen, a later one may.
    #[error("there is no room on the disk: {0}")]
    NoRoom(String),
    /// Writing failed: whether the last commit is on disk is unknown, and nothing more may be written.
    #[error("the store failed and takes no more writes: {0}")]
    Fatal(String),
}

/// Durable state. Calls block; the callers see to it that nobody is kept waiting who should not be.
pub trait Store: Send + std::marker::Sync {
    /// Applies all writes or none. Once it returns, they survive what `sync` says, and so does every commit before it.
    /// Called by one thread at a time.
    fn commit(&self, commit: &Commit) -> Result<(), Error>;

    /// The values of the keys, each in its place, as of the last commit.
    fn get(&self, space: Space, owner: AgentId, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error>;

    /// Records of an owner whose key starts with `prefix` and is greater than `after`, up to `bytes_max`.
    fn scan(&self, space: Space, owner: AgentId, prefix: &[u8], after: Option<&[u8]>, bytes_max: usize)
    -> Result<Page, Error>;

    /// Messages that nobody has consumed, in order, after `row`; at most `count_max`.
    fn messages(&self, after: Seq, count_max: usize) -> Result<Vec<StoredMessage>, Error>;

    /// The owners that have records in a space, in order.
    fn owners(&self, space: Space) -> Result<Vec<AgentId>, Error>;
}
