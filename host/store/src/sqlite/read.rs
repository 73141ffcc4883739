//! Reads, on connections of their own: a reader sees the last commit and never waits for the writer.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{CachedStatement, Connection};
use skep_core::name::shown;
use skep_core::{AgentId, Seq};

use super::error::{self, Doing};
use super::schema::{self, Role};
use super::sum::Sum;
use super::{SqliteOptions, message};
use crate::store::{Error, Page, Space, StoredMessage};

const GET: &str = "SELECT sum, value FROM record WHERE space = ?1 AND owner = ?2 AND key = ?3";

const SCAN_FROM: &str = "SELECT key, sum, value FROM record WHERE space = ?1 AND owner = ?2 AND key >= ?3 ORDER BY key";

const SCAN_AFTER: &str = "SELECT key, sum, value FROM record WHERE space = ?1 AND owner = ?2 AND key > ?3 ORDER BY key";

/// Jumps from owner to owner along the key, whatever each of them holds.
const OWNERS: &str = "
    WITH RECURSIVE found (owner) AS (
        SELECT min(owner) FROM record WHERE space = ?1
        UNION ALL
        SELECT (SELECT min(owner) FROM record WHERE space = ?1 AND owner > found.owner) FROM found
        WHERE found.owner IS NOT NULL
    )
    SELECT owner FROM found WHERE owner IS NOT NULL";

/// The reading connections.
pub(super) struct Readers {
    connections: Vec<Mutex<Connection>>,
    next: AtomicUsize,
}

/// Why a read failed.
enum Failed {
    Sqlite(rusqlite::Error),
    Store(Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(problem: rusqlite::Error) -> Self {
        Self::Sqlite(problem)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Readers {
    pub(super) fn open(file: &Path, options: &SqliteOptions) -> Result<Self, Error> {
        let count = options.readers.max(1);
        let connections = (0..count).map(|_| Ok(Mutex::new(schema::connect(file, Role::Reader, options)?)));
        Ok(Self { connections: connections.collect::<Result<_, Error>>()?, next: AtomicUsize::new(0) })
    }

    pub(super) fn get(&self, space: Space, owner: AgentId, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        self.with(|connection| match keys {
            [key] => Ok(vec![get(&mut connection.prepare_cached(GET)?, space, owner, key)?]),
            // One transaction, so that all values are of one commit.
            keys => {
                let transaction = connection.unchecked_transaction()?;
                let mut select = transaction.prepare_cached(GET)?;
                keys.iter().map(|key| get(&mut select, space, owner, key)).collect()
            }
        })
    }

    pub(super) fn scan(
        &self,
        space: Space,
        owner: AgentId,
        prefix: &[u8],
        after: Option<&[u8]>,
        bytes_max: usize,
    ) -> Result<Page, Error> {
        let (sql, from) = match after {
            Some(after) if after >= prefix => (SCAN_AFTER, after),
            _ => (SCAN_FROM, prefix),
        };
        self.with(|connection| {
            let mut select = connection.prepare_cached(sql)?;
            let mut rows = select.query((space as u8, owner.0, from))?;
            let (mut page, mut used_bytes) = (Page::default(), 0);
            while let Some(row) = rows.next()? {
                let key = blob(row, 0)?;
                if !key.starts_with(prefix) {
                    break;
                }
                let value = blob(row, 2)?;
                check_sum(row.get(1)?, space, owner, key, value)?;
                if !page.offer(key, value, &mut used_bytes, bytes_max) {
                    break;
                }
            }
            Ok(page)
        })
    }

    pub(super) fn messages(&self, after: Seq, count_max: usize) -> Result<Vec<StoredMessage>, Error> {
        // Rows end at 2^63 - 1, and so do counts.
        let after = i64::try_from(after.0).unwrap_or(i64::MAX);
        let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
        self.with(|connection| {
            let mut select = connection.prepare_cached(message::SCAN)?;
            let mut rows = select.query((after, count_max))?;
            let mut messages = Vec::new();
            while let Some(row) = rows.next()? {
                messages.push(message::read(row)?);
            }
            Ok(messages)
        })
    }

    pub(super) fn owners(&self, space: Space) -> Result<Vec<AgentId>, Error> {
        self.with(|connection| {
            let mut select = connection.prepare_cached(OWNERS)?;
            let owners = select.query_map((space as u8,), |row| Ok(AgentId(row.get(0)?)))?;
            Ok(owners.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Failed>) -> Result<T, Error> {
        let Some(connection) = self.free() else {
            return Err(Error::Fatal("it has no connection to read with".to_owned()));
        };
        read(&connection).map_err(|failed| match failed {
            Failed::Sqlite(problem) => error::classify(&problem, &connection, Doing::Reading),
            Failed::Store(error) => error,
        })
    }

    /// One that nobody uses, or else the next one when its user is done: a read is short.
    fn free(&self) -> Option<MutexGuard<'_, Connection>> {
        let idle = self.connections.iter().find_map(Mutex::try_lock);
        idle.or_else(|| {
            let next = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len().max(1);
            self.connections.get(next).map(Mutex::lock)
        })
    }
}

fn get(select: &mut CachedStatement<'_>, space: Space, owner: AgentId, key: &[u8]) -> Result<Option<Bytes>, Failed> {
    let mut rows = select.query((space as u8, owner.0, key))?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let value = blob(row, 1)?;
    check_sum(row.get(0)?, space, owner, key, value)?;
    Ok(Some(Bytes::copy_from_slice(value)))
}

fn blob<'r>(row: &'r rusqlite::Row<'_>, column: usize) -> Result<&'r [u8], Failed> {
    let found = row.get_ref(column)?.as_blob();
    found.map_err(|problem| Error::Corrupt { place: "a record".to_owned(), detail: problem.to_string() }.into())
}

/// A row without a sum was put there by a person, and is taken as it is.
fn check_sum(sum: Option<i64>, space: Space, owner: AgentId, key: &[u8], value: &[u8]) -> Result<(), Error> {
    if sum.is_none_or(|sum| sum == Sum::of_record(space as u8, owner.0, key, value)) {
        return Ok(());
    }
    Err(Error::Corrupt {
        place: format!("record ({}, {}, {})", space as u8, owner.0, shown(&String::from_utf8_lossy(key), 64)),
        detail: "its sum does not match its content".to_owned(),
    })
}
