//! The store on disk: one SQLite file in WAL mode, in the format of `docs/formats.md`, that stock `sqlite3` reads.
//!
//! One connection writes, some read, one moves the log into the file on a thread of its own. Underneath are only
//! rusqlite's prepared statements; the SQL is in `message.rs`, `write.rs` and `read.rs`.

mod checkpoint;
mod error;
mod lock;
mod message;
mod read;
mod schema;
mod sum;
mod write;

use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use skep_core::{AgentId, Seq};

use self::checkpoint::{Checkpointer, Signal};
use self::read::Readers;
pub use self::schema::FORMAT;
pub(crate) use self::schema::PAGE_BYTES;
use self::write::Writer;
use crate::histogram::Histogram;
use crate::store::{Commit, Error, Page, Space, Store, StoredMessage, Write};

/// The file in the data directory.
const FILE: &str = "skep.db";

/// How a store on disk is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// Makes the directory if it is not there; the one above it must be. Default: true.
    pub create: bool,
    /// The writer's page cache. 1,000 agents with 200 B of state take 300 KiB of it; a page that is not in it is read
    /// again at every write. Default: 16 MiB.
    pub cache_bytes_max: u64,
    /// From this size on the log is moved into the file in the background. The larger, the rarer a commit meets that; the
    /// smaller, the sooner a host is up again after a kill (SQLite reads the whole log). Default: 32 MiB.
    pub log_bytes_soft_max: u64,
    /// From this size on a commit moves the log itself before it begins. Only a program that reads for long can make it
    /// larger. Default: 128 MiB.
    pub log_bytes_hard_max: u64,
    /// Connections for reading, each with 1 MiB of cache at most; at least one. Default: 2.
    pub readers: usize,
    /// How long another program (a person with `sqlite3`, say) may keep a commit waiting. Default: 5 s.
    pub busy_max: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            create: true,
            cache_bytes_max: 16 << 20,
            log_bytes_soft_max: 32 << 20,
            log_bytes_hard_max: 128 << 20,
            readers: 2,
            busy_max: Duration::from_secs(5),
        }
    }
}

/// What a store has done since it was opened. Percentiles are exact to an eighth.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Commits that succeeded.
    pub commits: u64,
    /// The median of their durations, with the wait for a checkpoint.
    pub commit_p50: Duration,
    /// 99 of 100 took no longer.
    pub commit_p99: Duration,
    /// The longest.
    pub commit_max: Duration,
    /// Checkpoints of the thread.
    pub checkpoints: u64,
    /// The longest that one of them took.
    pub checkpoint_max: Duration,
    /// The longest that one of them kept a commit waiting.
    pub checkpoint_hold_max: Duration,
    /// Bytes of the log that hold pages now.
    pub log_bytes: u64,
}

/// Durable state in one SQLite file. See the module.
pub struct SqliteStore {
    // In the order in which they end: the writer's connection is the last to close and moves the log into the file.
    _checkpointer: Checkpointer,
    readers: Readers,
    shared: Arc<Shared>,
    _lock: lock::DirLock,
}

/// A connection on a new file of the format, without a store around it: for the control of the benches.
pub(crate) fn bare(dir: &Path, options: &SqliteOptions) -> Result<rusqlite::Connection, Error> {
    prepare(dir, options)?;
    schema::open_writer(&dir.join(FILE), options)
}

/// What the writer and the checkpoint thread have in common.
struct Shared {
    writer: Mutex<Writer>,
    /// Held while the log is moved, for SQLite lets only one do it. Taken after the writer, if both are.
    moving: Mutex<()>,
    signal: Signal,
    log_bytes: Arc<AtomicU64>,
    log_bytes_soft_max: u64,
    log_bytes_hard_max: u64,
    fatal: OnceLock<String>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    commits: Histogram,
    checkpoints: Histogram,
    holds: Histogram,
}

impl SqliteStore {
    /// Opens the data directory, and makes it one if it is empty. Blocks: it locks, checks the format and recovers what
    /// an unclean end has left.
    ///
    /// # Errors
    /// [`Error::Directory`], [`Error::Locked`], [`Error::Foreign`], [`Error::Format`], [`Error::Corrupt`], and
    /// [`Error::NoRoom`] if a new file has no room.
    pub fn open(dir: &Path, options: &SqliteOptions) -> Result<Self, Error> {
        prepare(dir, options)?;
        let lock = lock::take(dir)?;
        check_not_lost(dir)?;
        let file = dir.join(FILE);
        let log_bytes = Arc::new(AtomicU64::new(0));
        let writer = Writer::open(&file, options, Arc::clone(&log_bytes))?;
        // The names of new files are on disk before the first commit is.
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|problem| lock::unusable(dir, &problem))?;
        let shared = Arc::new(Shared {
            writer: Mutex::new(writer),
            moving: Mutex::new(()),
            signal: Signal::default(),
            log_bytes,
            log_bytes_soft_max: options.log_bytes_soft_max,
            log_bytes_hard_max: options.log_bytes_hard_max,
            fatal: OnceLock::new(),
            counts: Mutex::default(),
        });
        let readers = Readers::open(&file, options)?;
        let checkpointer = Checkpointer::start(&file, options, Arc::clone(&shared))?;
        Ok(Self { _checkpointer: checkpointer, readers, shared, _lock: lock })
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        let counts = self.shared.counts.lock();
        Stats {
            commits: counts.commits.total(),
            commit_p50: counts.commits.percentile(50),
            commit_p99: counts.commits.percentile(99),
            commit_max: counts.commits.max(),
            checkpoints: counts.checkpoints.total(),
            checkpoint_max: counts.checkpoints.max(),
            checkpoint_hold_max: counts.holds.max(),
            log_bytes: self.shared.log_bytes.load(Ordering::Relaxed),
        }
    }
}

/// A directory that is there, whether it was or not.
fn prepare(dir: &Path, options: &SqliteOptions) -> Result<(), Error> {
    if options.create && !dir.exists() {
        let made = std::fs::DirBuilder::new().mode(0o700).create(dir);
        made.map_err(|problem| lock::unusable(dir, &problem))?;
        if let Some(above) = dir.parent().filter(|above| !above.as_os_str().is_empty()) {
            // Some directories may be written and not read; then the name is on disk when the system pleases.
            let _ = File::open(above).and_then(|above| above.sync_all());
        }
    }
    match std::fs::metadata(dir) {
        Ok(about) if about.is_dir() => Ok(()),
        Ok(_) => Err(lock::unusable(dir, &std::io::Error::from(std::io::ErrorKind::NotADirectory))),
        Err(problem) => Err(lock::unusable(dir, &problem)),
    }
}

/// The file is made before anything is put into `plugins`, so a directory with plugins and without it is not a new one.
fn check_not_lost(dir: &Path) -> Result<(), Error> {
    let detail = match std::fs::metadata(dir.join(FILE)) {
        Ok(about) if about.len() == 0 => "it is empty",
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => "it is missing",
        _ => return Ok(()),
    };
    if std::fs::read_dir(dir.join("plugins")).is_ok_and(|mut entries| entries.next().is_some()) {
        let detail = format!(
            "{detail}, and plugins/ beside it says that a hive has run here: put a backup back, or remove the folder"
        );
        return Err(Error::Corrupt { place: FILE.to_owned(), detail });
    }
    Ok(())
}

impl Shared {
    fn commit(&self, commit: &Commit) -> Result<(), Error> {
        commit.writes.iter().try_for_each(Write::check)?;
        let begun = Instant::now();
        let mut writer = self.writer.lock();
        if let Some(text) = self.fatal.get() {
            return Err(Error::Fatal(text.clone()));
        }
        if self.log_bytes.load(Ordering::Relaxed) > self.log_bytes_hard_max {
            let moved = writer.checkpoint(&self.moving);
            moved.or_else(|error| self.ignore_harmless(error, &writer))?;
        }
        let done = writer.commit(commit);
        self.after(&done, begun, &writer);
        done
    }

    fn after(&self, done: &Result<(), Error>, begun: Instant, writer: &Writer) {
        match done {
            Ok(()) => self.counts.lock().commits.record(begun.elapsed()),
            Err(error @ Error::Fatal(_)) => self.poison(error, writer),
            // A log that starts again from its beginning needs no more room.
            Err(Error::NoRoom(_)) => self.signal.want(),
            Err(_) => {}
        }
        if self.log_bytes.load(Ordering::Relaxed) > self.log_bytes_soft_max {
            self.signal.want();
        }
    }

    /// A log that cannot be moved now does not stop a commit; one that may be damaged does.
    fn ignore_harmless(&self, error: Error, writer: &Writer) -> Result<checkpoint::Progress, Error> {
        match error {
            Error::NoRoom(_) | Error::Locked { .. } => Ok(checkpoint::Progress { logged: 0, moved: 0 }),
            error => {
                self.poison(&error, writer);
                Err(Error::Fatal(error.to_string()))
            }
        }
    }

    /// From the checkpoint thread: its sync has failed, and with it the promise of every commit in the log.
    fn fail(&self, error: &Error) {
        let writer = self.writer.lock();
        self.poison(error, &writer);
    }

    fn poison(&self, error: &Error, writer: &Writer) {
        let text = match error {
            Error::Fatal(text) => text.clone(),
            other => other.to_string(),
        };
        // The first reason stays.
        let _ = self.fatal.set(text);
        writer.abandon();
    }

    fn count_checkpoint(&self, whole: Duration, hold: Duration) {
        let mut counts = self.counts.lock();
        counts.checkpoints.record(whole);
        counts.holds.record(hold);
    }
}

impl Store for SqliteStore {
    fn commit(&self, commit: &Commit) -> Result<(), Error> {
        self.shared.commit(commit)
    }

    fn get(&self, space: Space, owner: AgentId, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        self.readers.get(space, owner, keys)
    }

    fn scan(
        &self,
        space: Space,
        owner: AgentId,
        prefix: &[u8],
        after: Option<&[u8]>,
        bytes_max: usize,
    ) -> Result<Page, Error> {
        self.readers.scan(space, owner, prefix, after, bytes_max)
    }

    fn messages(&self, after: Seq, count_max: usize) -> Result<Vec<StoredMessage>, Error> {
        self.readers.messages(after, count_max)
    }

    fn owners(&self, space: Space) -> Result<Vec<AgentId>, Error> {
        self.readers.owners(space)
    }
}
