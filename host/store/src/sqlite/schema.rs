//! The file: its tables, its version, the settings of a connection. `docs/formats.md` describes it; what is stated there
//! and here changes only together with [`FORMAT`].

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::SqliteOptions;
use super::error::{self, Doing};
use crate::store::Error;

/// The version of the format that this code writes, and the latest that it reads.
pub const FORMAT: u32 = 1;

/// The size of a page.
pub(crate) const PAGE_BYTES: u64 = 4_096;

/// "Skep" in ASCII: what `file` and SQLite's header call the application id.
const APPLICATION_ID: u32 = 0x536b_6570;

const TABLES: &str = "
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;
CREATE TABLE message (
    row INTEGER PRIMARY KEY,
    receiver INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    id BLOB NOT NULL,
    kind TEXT NOT NULL,
    channel INTEGER NOT NULL,
    class INTEGER NOT NULL,
    deadline_ns INTEGER,
    ask BLOB,
    detail,
    failed_turns INTEGER NOT NULL,
    hops INTEGER NOT NULL,
    accepted_ns INTEGER NOT NULL,
    sum INTEGER,
    rare TEXT,
    body BLOB NOT NULL
);
CREATE TABLE record (
    space INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    key BLOB NOT NULL,
    sum INTEGER,
    value BLOB NOT NULL,
    PRIMARY KEY (space, owner, key)
) WITHOUT ROWID;
";

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The one that commits.
    Writer,
    /// One that only reads.
    Reader,
    /// The one that moves the log into the file.
    Checkpointer,
}

/// Opens a connection on a file that is ours, or makes it so.
pub(super) fn open_writer(file: &Path, options: &SqliteOptions) -> Result<Connection, Error> {
    let connection = connect(file, Role::Writer, options)?;
    let opening = |problem: rusqlite::Error| error::opening(&problem, &connection, file);
    if is_new(&connection, file)? {
        create(&connection).map_err(opening)?;
    }
    check_format(&connection).map_err(opening)??;
    Ok(connection)
}

/// Opens one more connection on a file that is known to be ours.
pub(super) fn connect(file: &Path, role: Role, options: &SqliteOptions) -> Result<Connection, Error> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, role == Role::Writer);
    let connection = Connection::open_with_flags(file, flags).map_err(|problem| error::cannot_open(&problem, file))?;
    configure(&connection, role, options).map_err(|problem| error::opening(&problem, &connection, file))?;
    Ok(connection)
}

/// Settings that live as long as the connection. `synchronous` is NORMAL to begin with: a commit that must survive power
/// loss raises it to FULL.
fn configure(connection: &Connection, role: Role, options: &SqliteOptions) -> rusqlite::Result<()> {
    connection.busy_timeout(options.busy_max)?;
    connection.set_prepared_statement_cache_capacity(32);
    let cache_kib = match role {
        Role::Writer => options.cache_bytes_max / 1024,
        Role::Reader | Role::Checkpointer => 1024,
    };
    connection.execute_batch(&format!(
        "PRAGMA synchronous = NORMAL;
         PRAGMA cache_size = -{cache_kib};
         PRAGMA temp_store = MEMORY;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA trusted_schema = OFF;
         PRAGMA journal_size_limit = {};
         PRAGMA query_only = {};",
        options.log_bytes_soft_max.saturating_mul(2).min(i64::MAX.unsigned_abs()),
        u8::from(role == Role::Reader),
    ))
}

/// Whether nothing of a host is in the file yet: new, or left by a start that died before its first commit. A file of
/// somebody else is an error.
fn is_new(connection: &Connection, file: &Path) -> Result<bool, Error> {
    let read = || -> rusqlite::Result<(u32, u32)> {
        let id = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((id, tables))
    };
    match read().map_err(|problem| error::opening(&problem, connection, file))? {
        (APPLICATION_ID, _) => Ok(false),
        (0, 0) => Ok(true),
        (id, tables) => Err(Error::Foreign {
            path: error::shown_path(file),
            detail: format!(
                "a database of another program, with application id {id:#x} and {tables} tables or indexes"
            ),
        }),
    }
}

/// The page size cannot be changed once there is a page, and the journal mode not inside a transaction; all that makes
/// the file ours is one commit.
fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         BEGIN IMMEDIATE;
         {TABLES}
         INSERT INTO meta VALUES ('format', {FORMAT}), ('made_by', 'skep {}'),
             ('made_at', strftime('%Y-%m-%dT%H:%M:%SZ', 'now'));
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {FORMAT};
         COMMIT;
         PRAGMA synchronous = NORMAL;",
        env!("CARGO_PKG_VERSION"),
    ))
}

/// The outer result is the database's, the inner one says what was found.
fn check_format(connection: &Connection) -> rusqlite::Result<Result<(), Error>> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > FORMAT {
        return Ok(Err(Error::Format { found, supported: FORMAT }));
    }
    // Restores the mode if somebody has changed it with a tool.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    Ok(Ok(()))
}

impl Doing {
    /// The file's part of a path, for texts that name a place in it.
    pub(super) fn place(self) -> &'static str {
        match self {
            Self::Reading => "skep.db",
            Self::Writing => "skep.db (while writing)",
        }
    }
}
