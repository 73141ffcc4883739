//! Durable state: one trait, in memory and on disk. It knows rows and keys, never what an agent or a turn is for.
//!
//! Reading order: [`Store`] (the seam), [`MemoryStore`] (what it means, in the shortest form), [`SqliteStore`] (on disk;
//! `docs/formats.md` describes the file, which stock `sqlite3` reads), [`raw`] (the control of the benches).

mod histogram;
mod memory;
pub mod raw;
mod sqlite;
mod store;

pub use memory::MemoryStore;
pub use sqlite::{FORMAT, SqliteOptions, SqliteStore, Stats};
pub use store::{Commit, Entry, Error, KEY_BYTES_MAX, Page, Space, Store, StoredMessage, Sync, VALUE_BYTES_MAX, Write};
