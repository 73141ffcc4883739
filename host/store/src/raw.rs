//! The control of the benches: what the library and the disk do without Skep. Nothing of the host uses it.
//!
//! The shape of a turn is that of Skep's durable turns: one message of 64 bytes leaves the inbox, one agent of a thousand
//! writes 200 bytes of state, one such message enters the inbox. Only the sums are left out: they are Skep's own.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use crate::histogram::Histogram;
use crate::sqlite::{PAGE_BYTES, SqliteOptions, bare};
use crate::store::Error;

/// Agents whose state is written in turn.
pub const AGENTS: u64 = 1_000;

/// Messages that wait while the turns run.
pub const WAITING: u64 = 1_024;

/// Bytes of state that a turn writes.
pub const STATE_BYTES: usize = 200;

/// Bytes of a message's body.
pub const BODY_BYTES: usize = 64;

/// The kind of every message: that which the bench's guest takes.
pub const KIND: &str = "durable";

/// Bytes that cannot be compressed, made once: making them belongs to no turn.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(noise);

const NOISE_BYTES: usize = 1 << 20;

/// What a run has reached.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Turns, of three rows each, in a second.
    pub turns_per_s: f64,
    /// The median of a commit.
    pub commit_p50: Duration,
    /// 99 of 100 commits took no longer.
    pub commit_p99: Duration,
}

/// Measures commits of any kind, for a side-by-side: calls `commit(first, group)` for the turns `first..first + group`
/// until `turns` are done or `time_max` has passed.
///
/// # Errors
/// The first one of `commit`.
pub fn measure<E>(
    turns: u64,
    group: u64,
    time_max: Duration,
    mut commit: impl FnMut(u64, u64) -> Result<(), E>,
) -> Result<Run, E> {
    LazyLock::force(&NOISE);
    let (mut commits, mut done) = (Histogram::default(), 0);
    let begun = Instant::now();
    while done < turns && begun.elapsed() < time_max {
        let one = Instant::now();
        commit(done, group)?;
        commits.record(one.elapsed());
        done += group;
    }
    Ok(Run {
        turns_per_s: done as f64 / begun.elapsed().as_secs_f64(),
        commit_p50: commits.percentile(50),
        commit_p99: commits.percentile(99),
    })
}

/// The agent of a turn: neighbours in time are strangers in the key.
pub fn agent_of(turn: u64) -> u32 {
    u32::try_from(turn.wrapping_mul(7_919) % AGENTS).unwrap_or(0)
}

/// Who sends the message of a row: never its receiver.
pub fn sender_of(row: u64) -> u32 {
    agent_of(row.wrapping_add(1))
}

/// When a message was accepted: as large a number as the clock's.
pub fn accepted_ns(row: u64) -> u64 {
    (1 << 60) + row
}

/// Bytes that differ from turn to turn and cannot be compressed.
pub fn bytes_of<const N: usize>(turn: u64) -> [u8; N] {
    let at = usize::try_from(turn.wrapping_mul(211)).unwrap_or(0) % (NOISE_BYTES - N);
    NOISE.get(at..).and_then(|noise| noise.first_chunk()).copied().unwrap_or([0; N])
}

fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..NOISE_BYTES).map(next).collect()
}

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Turns of a window at most.
    pub turns_max: u64,
    /// The time of a window at most.
    pub time_max: Duration,
    /// Windows, of which the one with the highest rate counts.
    pub windows: u32,
}

/// The library alone: bare prepared statements on Skep's own tables, one transaction of `group` turns each, synchronous
/// FULL. `dir` must be empty.
///
/// The log is moved into the file at the same size as a store's. The library does so within the commit that reaches it,
/// where a store has a thread for it: that difference is Skep's doing, and part of what is compared.
///
/// # Errors
/// As those of a store, and [`Error::Fatal`] for whatever SQLite says.
pub fn turns_per_s(dir: &Path, group: u64, length: Length) -> Result<Run, Error> {
    let options = SqliteOptions::default();
    let connection = bare(dir, &options)?;
    let fatal = |problem: rusqlite::Error| Error::Fatal(problem.to_string());
    let log_pages_max = options.log_bytes_soft_max / PAGE_BYTES;
    connection.pragma_update(None, "wal_autocheckpoint", log_pages_max.cast_signed()).map_err(fatal)?;
    run_turns(&connection, group, length).map_err(fatal)
}

fn run_turns(connection: &Connection, group: u64, length: Length) -> rusqlite::Result<Run> {
    connection.execute_batch("PRAGMA synchronous = FULL; BEGIN")?;
    let mut take = connection.prepare("DELETE FROM message WHERE row = ?1")?;
    let mut upsert = connection.prepare("REPLACE INTO record (space, owner, key, value) VALUES (3, ?1, ?2, ?3)")?;
    let mut put = connection.prepare(
        "INSERT INTO message (row, receiver, sender, id, kind, channel, class, failed_turns, hops, accepted_ns, body)
         VALUES (?1, ?2, ?3, ?4, ?5, 2, 0, 0, 1, ?6, ?7)",
    )?;
    let mut insert = |row: u64| {
        let (id, body) = (bytes_of::<16>(row), bytes_of::<BODY_BYTES>(row));
        let accepted_ns = accepted_ns(row).cast_signed();
        put.execute(params![row.cast_signed(), agent_of(row), sender_of(row), id, KIND, accepted_ns, body])
    };
    for row in 1..=WAITING {
        insert(row)?;
    }
    connection.execute_batch("COMMIT")?;
    let mut done = 0u64;
    let mut commit = |_, group: u64| {
        connection.execute_batch("BEGIN")?;
        for turn in done..done + group {
            take.execute([(turn + 1).cast_signed()])?;
            upsert.execute(params![agent_of(turn), b"state".as_slice(), bytes_of::<STATE_BYTES>(turn)])?;
            insert(turn + 1 + WAITING)?;
        }
        done += group;
        connection.execute_batch("COMMIT")
    };
    let mut best = measure(length.turns_max, group, length.time_max, &mut commit)?;
    for _ in 1..length.windows {
        let next = measure(length.turns_max, group, length.time_max, &mut commit)?;
        if next.turns_per_s > best.turns_per_s {
            best = next;
        }
    }
    Ok(best)
}

/// The disk alone: the median of appending 200 bytes to a plain file and an fdatasync, in microseconds, the best of three
/// runs of 200. Removes its file.
///
/// # Errors
/// [`Error::Fatal`] with what the system says.
pub fn fdatasync_us(dir: &Path) -> Result<f64, Error> {
    let path = dir.join("fdatasync");
    let best = (0..3).map(|_| appends_p50_us(&path)).reduce(|best, next| Ok(f64::min(best?, next?)));
    let removed = std::fs::remove_file(&path);
    let best = best.unwrap_or(Ok(0.0)).and_then(|best| removed.map(|()| best));
    best.map_err(|problem| Error::Fatal(problem.to_string()))
}

fn appends_p50_us(path: &Path) -> std::io::Result<f64> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let run = measure(200, 1, Duration::from_secs(5), |turn, _| {
        file.write_all(&bytes_of::<STATE_BYTES>(turn))?;
        file.sync_data()
    })?;
    Ok(run.commit_p50.as_secs_f64() * 1e6)
}
