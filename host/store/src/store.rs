//! The seam between the host and whatever keeps its data: five methods, each says what is true once it returns. Never
//! what a record means.

use bytes::Bytes;
use skep_core::{AgentId, Message, Seq};

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;

/// The longest value or message body, in bytes: half of what SQLite takes in one row.
pub const VALUE_BYTES_MAX: usize = 512 << 20;

/// A family of keys. The number is part of the format on disk and never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Space {
    /// What the hive knows of itself, such as numbers that are not given out again.
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
    /// A message on its way to an agent. It may be put again, as it is then, on its own row; another message on a row
    /// that is taken is refused.
    PutMessage {
        /// Its place, from 1, ascending over the whole hive.
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
        /// The key, at most [`KEY_BYTES_MAX`].
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
#[derive(Clone, Debug, thiserror::Error)]
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
    /// There is something else in its place.
    #[error("{path} is not what it should be: {detail}")]
    Foreign {
        /// Which file.
        path: String,
        /// What it is, or seems to be.
        detail: String,
    },
    /// It was written by a later version.
    #[error("the data is of format {found}, this version reads up to {supported}")]
    Format {
        /// What is there.
        found: u32,
        /// What can be read.
        supported: u32,
    },
    /// A row cannot be read. In a commit: it did not happen.
    #[error("{place} cannot be read: {detail}")]
    Corrupt {
        /// Table and key, or the file.
        place: String,
        /// What is wrong.
        detail: String,
    },
    /// The commit breaks a rule of [`Write`] and did not happen.
    #[error("the commit is not valid: {0}")]
    Invalid(String),
    /// The disk is full: the commit did not happen, a later one may.
    #[error("there is no room on the disk: {0}")]
    NoRoom(String),
    /// Writing failed: whether the last commit is on disk is unknown, and nothing more may be written.
    #[error("the store failed and takes no more writes: {0}")]
    Fatal(String),
}

impl Error {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "E_STORE_DIR",
            Self::Locked { .. } => "E_STORE_LOCKED",
            Self::Foreign { .. } => "E_STORE_FOREIGN",
            Self::Format { .. } => "E_STORE_FORMAT",
            Self::Corrupt { .. } => "E_STORE_CORRUPT",
            Self::Invalid(_) => "E_STORE_INVALID",
            Self::NoRoom(_) => "E_STORE_NO_ROOM",
            Self::Fatal(_) => "E_STORE_FATAL",
        }
    }
}

impl Write {
    /// What every implementation refuses, whatever it holds.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::PutMessage { row, message, .. } => {
                if row.0 == 0 || i64::try_from(row.0).is_err() {
                    return Err(Error::Invalid(format!("row {} is not from 1 to 2^63 - 1", row.0)));
                }
                check_len("a body", message.body.len(), VALUE_BYTES_MAX)
            }
            Self::Put { key, value, .. } => {
                check_len("a key", key.len(), KEY_BYTES_MAX)?;
                check_len("a value", value.len(), VALUE_BYTES_MAX)
            }
            Self::TakeMessage { .. } | Self::Delete { .. } | Self::DeleteAll { .. } => Ok(()),
        }
    }

    /// What a message says that finds another one on its row.
    pub(crate) fn row_taken(row: Seq) -> Error {
        Error::Invalid(format!("row {} holds another message", row.0))
    }
}

fn check_len(what: &str, bytes: usize, bytes_max: usize) -> Result<(), Error> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(Error::Invalid(format!("{what} of {bytes} bytes is longer than {bytes_max}")))
}

impl Page {
    /// Takes an entry if there is room for it; the first one always fits. False: the page is full, and there is more.
    pub(crate) fn offer(&mut self, key: &[u8], value: &[u8], used_bytes: &mut usize, bytes_max: usize) -> bool {
        *used_bytes += key.len() + value.len();
        if !self.entries.is_empty() && *used_bytes > bytes_max {
            self.more = true;
            return false;
        }
        self.entries.push(Entry { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value) });
        true
    }
}

/// Durable state. Calls block; the callers see to it that nobody is kept waiting who should not be.
pub trait Store: Send + std::marker::Sync {
    /// Applies all writes or none. Once it returns, they survive what `sync` says, and so does every commit before it.
    /// After an error nothing of it is visible and a later commit may work, except after [`Error::Fatal`].
    /// Called by one thread at a time.
    fn commit(&self, commit: &Commit) -> Result<(), Error>;

    /// The values of the keys, each in its place, as of the last commit.
    fn get(&self, space: Space, owner: AgentId, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error>;

    /// Records of an owner whose key starts with `prefix` and is greater than `after`, up to `bytes_max` of keys and
    /// values together.
    fn scan(
        &self,
        space: Space,
        owner: AgentId,
        prefix: &[u8],
        after: Option<&[u8]>,
        bytes_max: usize,
    ) -> Result<Page, Error>;

    /// Messages that nobody has consumed, in order, after `row`; at most `count_max`.
    fn messages(&self, after: Seq, count_max: usize) -> Result<Vec<StoredMessage>, Error>;

    /// The owners that have records in a space, in order.
    fn owners(&self, space: Space) -> Result<Vec<AgentId>, Error>;
}
