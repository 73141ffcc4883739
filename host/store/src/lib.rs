//! Durable state: one trait, in memory and on disk. It knows rows and keys, never what an agent or a turn is for.

mod store;

pub use store::{Commit, Entry, Error, Page, Space, Store, StoredMessage, Sync, Write};
