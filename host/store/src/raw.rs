//! The control of the benches: what the library and the disk do without Skep. Nothing of the host uses it.
//!
//! The shape of a turn is that of Skep's durable turns: one message leaves the inbox, one agent of a thousand writes 200
//! bytes of state, one message enters the inbox.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use crate::histogram::Histogram;
use crate::sqlite::{SqliteOptions, bare};
use crate::store::Error;

/// Agents whose state is written in turn.
pub const AGENTS: u64 = 1_000;

/// Messages that wait while the turns run.
pub const WAITING: u64 = 1_024;

/// Bytes of state that a turn writes.
pub const STATE_BYTES: usize = 200;

/// Bytes of a message's body.
pub const BODY_BYTES: usize = 64;

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

/// Bytes that differ from turn to turn and cannot be compressed.
pub fn bytes_of<const N: usize>(turn: u64) -> [u8; N] {
    let mut state = turn.wrapping_add(0x9e37_79b9_7f4a_7c15);
    std::array::from_fn(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    })
}

/// The library alone: bare prepared statements on Skep's own tables, one transaction of `group` turns each, synchronous
/// FULL, SQLite's own checkpoints. `dir` must be empty; the run ends after `turns` or `time_max`.
///
/// # Errors
/// As those of a store, and [`Error::Fatal`] for whatever SQLite says.
pub fn turns_per_s(dir: &Path, turns: u64, group: u64, time_max: Duration) -> Result<Run, Error> {
    let connection = bare(dir, &SqliteOptions::default())?;
    let fatal = |problem: rusqlite::Error| Error::Fatal(problem.to_string());
    run_turns(&connection, turns, group, time_max).map_err(fatal)
}

fn run_turns(connection: &Connection, turns: u64, group: u64, time_max: Duration) -> rusqlite::Result<Run> {
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000; BEGIN")?;
    let mut take = connection.prepare("DELETE FROM message WHERE row = ?1")?;
    let mut upsert = connection.prepare("REPLACE INTO record (space, owner, key, value) VALUES (3, ?1, ?2, ?3)")?;
    let mut put = connection.prepare(
        "INSERT INTO message (row, receiver, sender, id, kind, channel, class, failed_turns, hops, accepted_ns, body)
         VALUES (?1, ?2, ?3, ?4, 'work', 2, 0, 0, 1, ?5, ?6)",
    )?;
    let mut insert = |row: u64| {
        let (id, body) = (bytes_of::<16>(row), bytes_of::<BODY_BYTES>(row));
        put.execute(params![row.cast_signed(), agent_of(row), 1, id, row.cast_signed(), body])
    };
    for row in 1..=WAITING {
        insert(row)?;
    }
    connection.execute_batch("COMMIT")?;
    measure(turns, group, time_max, |first, group| {
        connection.execute_batch("BEGIN")?;
        for turn in first..first + group {
            take.execute([(turn + 1).cast_signed()])?;
            upsert.execute(params![agent_of(turn), b"state".as_slice(), bytes_of::<STATE_BYTES>(turn)])?;
            insert(turn + 1 + WAITING)?;
        }
        connection.execute_batch("COMMIT")
    })
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
