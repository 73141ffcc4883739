//! The story: a host gets kill -9 while it commits, starts again, and gets it again. What it had acknowledged must be
//! there, and of the commit that was under way either all or nothing. (Power loss is what `syncs` and `damage` are about:
//! after a kill the system still has what was written.)

use std::path::Path;

use bytes::Bytes;
use skep_core::{AgentId, Seq};
use skep_store::{Commit, Space, SqliteOptions, SqliteStore, Store, Sync, Write};

use crate::child::{self, Running};
use crate::support::{put, put_message};

/// Rows that one commit writes to the state, all with its number.
const PARTS: u32 = 10;

/// Messages that wait after every commit.
const WAITING: u64 = 3;

/// A log so small that the kills also meet checkpoints.
fn options() -> SqliteOptions {
    SqliteOptions { log_bytes_soft_max: 64 << 10, log_bytes_hard_max: 256 << 10, ..SqliteOptions::default() }
}

/// The commit of a number: its parts, a message in, one out.
fn numbered(number: u64) -> Commit {
    let mut writes = vec![put_message(number, u128::from(number))];
    writes.extend((0..PARTS).map(|part| put(part, b"number", &number.to_be_bytes())));
    writes.push(Write::TakeMessage { row: Seq(number.saturating_sub(WAITING)) });
    Commit { writes, sync: if number.is_multiple_of(3) { Sync::Power } else { Sync::Process } }
}

/// The number of the last commit that is visible, after a check that it is whole and the only one.
pub(crate) fn whole_commit(store: &dyn Store) -> u64 {
    let number = |part| {
        let found = store.get(Space::State, AgentId(part), &[Bytes::from_static(b"number")]).unwrap();
        found[0].as_deref().map_or(0, |value| u64::from_be_bytes(value.try_into().unwrap()))
    };
    let last = number(0);
    assert!((0..PARTS).all(|part| number(part) == last), "a part of commit {last} is missing or of another");
    let rows: Vec<u64> = store.messages(Seq(0), 100).unwrap().iter().map(|held| held.message.row.unwrap().0).collect();
    assert_eq!(rows, (last.saturating_sub(WAITING) + 1..=last).collect::<Vec<_>>(), "the messages of commit {last}");
    last
}

/// The child: commits number after number and tells each one that was acknowledged.
pub(crate) fn write_for_ever(dir: &Path) {
    let store = SqliteStore::open(dir, &options()).unwrap();
    let mut number = whole_commit(&store);
    loop {
        number += 1;
        store.commit(&numbered(number)).unwrap();
        child::tell(&number.to_string());
    }
}

/// What happens between two lines happens at any moment: a wait of up to a commit or two, without a clock.
fn a_moment(random: &mut u64) {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    (0..(*random >> 33) % 200_000).for_each(|_| std::hint::spin_loop());
}

#[test]
fn a_kill_at_any_moment_loses_nothing_and_splits_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut random, mut last) = (42, 0);
    for round in 0..30u64 {
        let mut child = Running::start(child::command("write-for-ever", dir.path()));
        // Every fifth child is killed while it opens, which is in the middle of a recovery from the kill before.
        let lines = if round % 5 == 4 { 0 } else { 1 + round * 7 % 60 };
        let mut acknowledged = (0..lines).map_while(|_| child.next()).last();
        a_moment(&mut random);
        child.kill();
        acknowledged = std::iter::from_fn(|| child.next()).last().or(acknowledged);
        let acknowledged = acknowledged.map_or(last, |line| line.parse().unwrap());
        // Two in three rounds the next child recovers, in the others this process does.
        if round % 3 == 0 {
            let found = whole_commit(&SqliteStore::open(dir.path(), &options()).unwrap());
            assert!((acknowledged..=acknowledged + 1).contains(&found), "acknowledged {acknowledged}, found {found}");
        }
        last = acknowledged;
    }
    assert!(last > 100, "only {last} commits were made");
    assert!(whole_commit(&SqliteStore::open(dir.path(), &options()).unwrap()) >= last);
}

/// Half the story of power loss: the log ends anywhere, or in noise. What is found is some whole commit.
#[test]
fn a_log_that_ends_anywhere_gives_a_whole_commit() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), &SqliteOptions::default()).unwrap();
    (1..=40).for_each(|number| store.commit(&numbered(number)).unwrap());
    let file = std::fs::read(dir.path().join("skep.db")).unwrap();
    let log = std::fs::read(dir.path().join("skep.db-wal")).unwrap();
    let mut found = Vec::new();
    for step in 0..60 {
        let end = log.len() * step / 59;
        for noise in [false, true] {
            let copy = tempfile::tempdir().unwrap();
            let mut torn = log[..end].to_vec();
            if noise {
                torn.resize(log.len(), 0x5a);
            }
            std::fs::write(copy.path().join("skep.db"), &file).unwrap();
            std::fs::write(copy.path().join("skep.db-wal"), torn).unwrap();
            found.push(whole_commit(&SqliteStore::open(copy.path(), &SqliteOptions::default()).unwrap()));
        }
    }
    assert!(found.is_sorted(), "a longer log holds no less: {found:?}");
    assert_eq!((found.first(), found.last()), (Some(&0), Some(&40)));
}
