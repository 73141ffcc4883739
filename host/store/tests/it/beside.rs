//! What goes on beside a commit: reads, other programs, the log that is moved into the file. None waits for another for
//! long, and none sees half of anything.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rusqlite::Connection;
use skep_core::{AgentId, Seq};
use skep_store::{Commit, Space, SqliteOptions, SqliteStore, Store, Sync};

use crate::support::{commit, put, put_message};

fn log_bytes(dir: &Path) -> u64 {
    std::fs::metadata(dir.join("skep.db-wal")).map_or(0, |about| about.len())
}

#[test]
fn a_read_does_not_wait_for_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), &SqliteOptions::default()).unwrap();
    store.commit(&commit(vec![put(1, b"a", b"1"), put_message(1, 1)])).unwrap();
    let other = Connection::open(dir.path().join("skep.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; DELETE FROM record; DELETE FROM message").unwrap();
    let found = store.get(Space::State, AgentId(1), &[Bytes::from_static(b"a")]).unwrap();
    assert_eq!(found, [Some(Bytes::from_static(b"1"))]);
    assert_eq!(store.messages(Seq(0), 9).unwrap().len(), 1);
}

#[test]
fn a_reader_never_sees_half_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteOptions { log_bytes_soft_max: 32 << 10, ..SqliteOptions::default() };
    let store = SqliteStore::open(dir.path(), &options).unwrap();
    let keys = [Bytes::from_static(b"a"), Bytes::from_static(b"b")];
    let ended = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let readers = [(); 3].map(|()| {
            scope.spawn(|| {
                let mut seen = 0u64;
                while !ended.load(Ordering::Relaxed) || seen == 0 {
                    let found = store.get(Space::State, AgentId(1), &keys).unwrap();
                    assert_eq!(found[0], found[1]);
                    let page = store.scan(Space::State, AgentId(1), b"", None, usize::MAX).unwrap();
                    assert!(page.entries.windows(2).all(|pair| pair[0].value == pair[1].value));
                    seen += 1;
                }
                seen
            })
        });
        for number in 0..2_000u64 {
            let value = number.to_be_bytes();
            store.commit(&commit(vec![put(1, b"a", &value), put(1, b"b", &value)])).unwrap();
        }
        ended.store(true, Ordering::Relaxed);
        readers.map(|reader| reader.join().unwrap())
    });
    assert!(seen.iter().all(|seen| *seen > 0));
}

#[test]
fn the_log_stays_within_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        SqliteOptions { log_bytes_soft_max: 256 << 10, log_bytes_hard_max: 1 << 20, ..SqliteOptions::default() };
    let store = SqliteStore::open(dir.path(), &options).unwrap();
    let value = vec![7; 10_000];
    let (mut longest, one) = (0, 64 << 10);
    for number in 0..2_000u32 {
        store.commit(&commit((0..3).map(|part| put(number % 50, &[part], &value)).collect())).unwrap();
        longest = longest.max(log_bytes(dir.path()));
    }
    // 80 MB went through it.
    assert!(longest <= options.log_bytes_hard_max + one, "{longest} bytes");
    assert!(store.stats().checkpoints > 0);
}

#[test]
fn the_log_shrinks_again_after_a_large_commit() {
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteOptions { log_bytes_soft_max: 64 << 10, ..SqliteOptions::default() };
    let store = SqliteStore::open(dir.path(), &options).unwrap();
    store.commit(&commit(vec![put(1, b"large", &vec![1; 4 << 20])])).unwrap();
    assert!(log_bytes(dir.path()) > 4 << 20);
    let mut commits = (0..1_000_000u32).map(|number| {
        store.commit(&commit(vec![put(1, b"small", &number.to_be_bytes())])).unwrap();
        std::thread::yield_now();
        log_bytes(dir.path())
    });
    assert!(commits.any(|bytes| bytes <= 1 << 20), "the log is still large");
}

#[test]
fn a_log_that_a_reader_holds_does_not_stop_commits() {
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteOptions { log_bytes_soft_max: 0, log_bytes_hard_max: 64 << 10, ..SqliteOptions::default() };
    let store = SqliteStore::open(dir.path(), &options).unwrap();
    store.commit(&commit(vec![put(1, b"a", b"0")])).unwrap();
    let other = Connection::open(dir.path().join("skep.db")).unwrap();
    other.execute_batch("BEGIN; SELECT * FROM record").unwrap();
    let count = || -> i64 { other.query_row("SELECT count(*) FROM record", [], |row| row.get(0)).unwrap() };
    assert_eq!(count(), 1);
    for number in 0..200u32 {
        store.commit(&commit(vec![put(2, &number.to_be_bytes(), &[1; 3_000])])).unwrap();
    }
    assert_eq!(count(), 1, "the reader still sees what it saw first");
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(count(), 201);
}

#[test]
fn stats_count_commits_and_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), &SqliteOptions::default()).unwrap();
    assert_eq!(store.stats().commits, 0);
    for sync in [Sync::Process, Sync::Power] {
        store.commit(&Commit { writes: vec![put(1, b"a", b"0")], sync }).unwrap();
    }
    store.commit(&commit(vec![put_message(0, 1)])).unwrap_err();
    let stats = store.stats();
    assert_eq!(stats.commits, 2);
    assert!(stats.log_bytes > 0);
    assert!(stats.commit_p50 <= stats.commit_p99 && stats.commit_p99 <= stats.commit_max);
    assert!(!stats.commit_p50.is_zero());
}
