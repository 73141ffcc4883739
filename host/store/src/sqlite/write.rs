//! The one connection that writes: a commit is one transaction. It never decides when the log is moved into the file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection};

use super::checkpoint::{self, Progress};
use super::error::{self, Doing};
use super::sum::Sum;
use super::{SqliteOptions, message, schema};
use crate::store::{Commit, Error, Sync, Write};

/// The connection and what is known of its log.
pub(super) struct Writer {
    connection: Connection,
    log_path: PathBuf,
    /// Bytes of the log that hold pages, as of the last commit.
    log_bytes: Arc<AtomicU64>,
    /// Whether `synchronous` is FULL now.
    full: bool,
    /// Commits since the last sync that a power loss would undo.
    unsynced: bool,
}

/// Why a commit did not happen.
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

impl Writer {
    pub(super) fn open(file: &Path, options: &SqliteOptions, log_bytes: Arc<AtomicU64>) -> Result<Self, Error> {
        let mut connection = schema::open_writer(file, options)?;
        let opening = |connection: &Connection, problem: rusqlite::Error| error::opening(&problem, connection, file);
        let page_bytes: u32 = connection
            .pragma_query_value(None, "page_size", |row| row.get(0))
            .map_err(|problem| opening(&connection, problem))?;
        let gauge = Arc::clone(&log_bytes);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            gauge.store(u64::from(pages.unsigned_abs()) * u64::from(page_bytes), Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(hook)).map_err(|problem| opening(&connection, problem))?;
        let log_path = file.with_extension("db-wal");
        // What the log holds already may come from a host that was killed before it synced.
        Ok(Self { connection, log_path, log_bytes, full: false, unsynced: true })
    }

    /// One transaction, or nothing.
    pub(super) fn commit(&mut self, commit: &Commit) -> Result<(), Error> {
        let power = commit.sync == Sync::Power;
        let before = self.log_bytes.swap(0, Ordering::Relaxed);
        let done = self.set_full(power).map_err(Failed::from).and_then(|()| self.transact(&commit.writes));
        let written = self.log_bytes.load(Ordering::Relaxed) != 0;
        if !written {
            self.log_bytes.store(before, Ordering::Relaxed);
        }
        if let Err(failed) = done {
            return Err(self.undo(failed));
        }
        match (power, written) {
            (true, true) => self.unsynced = false,
            // Nothing was to be written, so SQLite has synced nothing; the commits before are still owed.
            (true, false) if self.unsynced => self.sync_log()?,
            (true, false) => {}
            (false, _) => self.unsynced |= written,
        }
        Ok(())
    }

    /// SQLite syncs the whole log at the end of a FULL commit, so it covers the NORMAL ones before it. The setting can
    /// only be changed between transactions and lasts, so it is changed only when it differs.
    fn set_full(&mut self, full: bool) -> rusqlite::Result<()> {
        if self.full != full {
            let level = if full { "FULL" } else { "NORMAL" };
            self.connection.execute_batch(&format!("PRAGMA synchronous = {level}"))?;
            self.full = full;
        }
        Ok(())
    }

    fn transact(&self, writes: &[Write]) -> Result<(), Failed> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.raw_execute()?;
        let mut statements = Statements::new(&self.connection)?;
        match taken_first(writes) {
            Some(rows) => {
                statements.take_rows(&rows)?;
                let mut rest = writes.iter().filter(|write| !matches!(write, Write::TakeMessage { .. }));
                rest.try_for_each(|write| statements.apply(write))?;
            }
            None => writes.iter().try_for_each(|write| statements.apply(write))?,
        }
        drop(statements);
        self.connection.prepare_cached("COMMIT")?.raw_execute()?;
        Ok(())
    }

    /// Takes back what a failed commit has begun, and says what it means.
    fn undo(&self, failed: Failed) -> Error {
        let error = match failed {
            Failed::Sqlite(problem) => error::classify(&problem, &self.connection, Doing::Writing),
            Failed::Store(error) => error,
        };
        if self.connection.is_autocommit() {
            return error;
        }
        match self.connection.execute_batch("ROLLBACK") {
            Ok(()) => error,
            Err(problem) => Error::Fatal(format!("{error}; and it cannot be taken back: {problem}")),
        }
    }

    fn sync_log(&mut self) -> Result<(), Error> {
        File::open(&self.log_path)
            .and_then(|log| log.sync_all())
            .map_err(|problem| Error::Fatal(format!("skep.db-wal: {problem}")))?;
        self.unsynced = false;
        Ok(())
    }

    /// Moves what the log holds into the file, as far as readers allow, without waiting for them.
    pub(super) fn checkpoint(&self, moving: &Mutex<()>) -> Result<Progress, Error> {
        checkpoint::run(&self.connection, moving)
    }

    /// After a failed sync nothing may be written any more, not even when the connection is closed: the log as it is on
    /// disk is all that can be trusted.
    pub(super) fn abandon(&self) {
        // If even that is refused there is nothing left to do: the connection is not used again.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }
}

/// The rows that a commit takes, in order, if they can all go before anything is put: then neighbours go in one statement.
/// That is every commit of a host, for it gives out rows in order and takes only what an earlier commit has put.
fn taken_first(writes: &[Write]) -> Option<Vec<i64>> {
    let (mut taken, mut put_min) = (Vec::new(), i64::MAX);
    for write in writes {
        match write {
            // A number that no row can have takes nothing.
            Write::TakeMessage { row } => taken.extend(i64::try_from(row.0)),
            Write::PutMessage { row, .. } => put_min = put_min.min(row.0.cast_signed()),
            Write::Put { .. } | Write::Delete { .. } | Write::DeleteAll { .. } => {}
        }
    }
    taken.sort_unstable();
    taken.last().is_none_or(|last| *last < put_min).then_some(taken)
}

/// The statements of a commit, each looked up once.
struct Statements<'c> {
    put_message: CachedStatement<'c>,
    take_messages: CachedStatement<'c>,
    put: CachedStatement<'c>,
    delete: CachedStatement<'c>,
    delete_all: CachedStatement<'c>,
}

impl<'c> Statements<'c> {
    fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            put_message: connection.prepare_cached(message::PUT)?,
            take_messages: connection.prepare_cached("DELETE FROM message WHERE row BETWEEN ?1 AND ?2")?,
            put: connection
                .prepare_cached("REPLACE INTO record (space, owner, key, sum, value) VALUES (?1, ?2, ?3, ?4, ?5)")?,
            delete: connection.prepare_cached("DELETE FROM record WHERE space = ?1 AND owner = ?2 AND key = ?3")?,
            delete_all: connection.prepare_cached("DELETE FROM record WHERE space = ?1 AND owner = ?2")?,
        })
    }

    /// Takes rows that are in order, each run of neighbours at once.
    fn take_rows(&mut self, rows: &[i64]) -> Result<(), Failed> {
        for run in rows.chunk_by(|row, next| next - row <= 1) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            self.take_messages.raw_bind_parameter(1, first)?;
            self.take_messages.raw_bind_parameter(2, last)?;
            self.take_messages.raw_execute()?;
        }
        Ok(())
    }

    fn apply(&mut self, write: &Write) -> Result<(), Failed> {
        match write {
            Write::PutMessage { row, to, message } => {
                message::bind(&mut self.put_message, *row, *to, message)?;
                if self.put_message.raw_execute()? == 0 {
                    return Err(Write::row_taken(*row).into());
                }
            }
            Write::TakeMessage { row } => self.take_rows(i64::try_from(row.0).ok().as_slice())?,
            Write::Put { space, owner, key, value } => {
                let (space, owner) = (*space as u8, owner.0);
                self.put.raw_bind_parameter(1, space)?;
                self.put.raw_bind_parameter(2, owner)?;
                self.put.raw_bind_parameter(3, key.as_ref())?;
                self.put.raw_bind_parameter(4, Sum::of_record(space, owner, key, value))?;
                self.put.raw_bind_parameter(5, value.as_ref())?;
                self.put.raw_execute()?;
            }
            Write::Delete { space, owner, key } => {
                self.delete.execute((*space as u8, owner.0, key.as_ref()))?;
            }
            Write::DeleteAll { space, owner } => {
                self.delete_all.execute((*space as u8, owner.0))?;
            }
        }
        Ok(())
    }
}
