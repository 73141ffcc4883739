//! Skep's commit shape on the store, on bare rusqlite and on fjall, side by side in one run: the numbers of
//! `docs/decisions/0001-store.md`. Quote ratios of one run, never one figure alone.
//!
//! `cargo bench -p skep-store -- [ROUNDS]`; each cell is the best of ROUNDS (default 3) runs of at most a second.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use skep_core::{AgentId, Channel, Class, Message, MessageId, Name, Seq};
use skep_store::raw::{self, BODY_BYTES, Run, STATE_BYTES, WAITING, agent_of, bytes_of, measure};
use skep_store::{Commit, Space, SqliteOptions, SqliteStore, Store, Sync, Write};

const TURNS_MAX: u64 = 1_000_000;
const TIME_MAX: Duration = Duration::from_secs(1);

type Contender = (&'static str, fn(&Path, u64) -> Run);

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(3u32);
    let only = std::env::var("ONLY").unwrap_or_default();
    let contenders: [Contender; 4] =
        [("skep", skep), ("skep-process", skep_process), ("rusqlite", rusqlite), ("fjall", fjall)];
    let dir = scratch();
    println!("fdatasync of 200 B appended: {:.0} us", raw::fdatasync_us(dir.path()).expect("a disk"));
    println!("{:>5} {:>13} {:>10} {:>9} {:>9} {:>9}", "group", "store", "turns/s", "p50 us", "p99 us", "to fjall");
    for group in [1, 16, 64, 256] {
        let mut best: [Option<Run>; 4] = [None; 4];
        for _ in 0..rounds {
            for (best, (name, run)) in best.iter_mut().zip(contenders) {
                if !name.contains(&only) {
                    continue;
                }
                let dir = scratch();
                let run = run(dir.path(), group);
                if best.is_none_or(|best| run.turns_per_s > best.turns_per_s) {
                    *best = Some(run);
                }
            }
        }
        print(group, contenders.map(|contender| contender.0), &best);
    }
}

fn print(group: u64, names: [&str; 4], best: &[Option<Run>; 4]) {
    let control = best[3].map_or(f64::NAN, |run| run.turns_per_s);
    for (name, run) in names.into_iter().zip(best) {
        let Some(run) = run else { continue };
        let us = |duration: Duration| duration.as_secs_f64() * 1e6;
        println!(
            "{group:>5} {name:>13} {:>10.0} {:>9.0} {:>9.0} {:>9.2}",
            run.turns_per_s,
            us(run.commit_p50),
            us(run.commit_p99),
            run.turns_per_s / control
        );
    }
}

/// Beside the build, not in /tmp, which is often memory.
fn scratch() -> tempfile::TempDir {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tempfile::tempdir_in(target).expect("a scratch directory")
}

fn skep(dir: &Path, group: u64) -> Run {
    on_trait(dir, group, Sync::Power)
}

fn skep_process(dir: &Path, group: u64) -> Run {
    on_trait(dir, group, Sync::Process)
}

fn on_trait(dir: &Path, group: u64, sync: Sync) -> Run {
    let store = SqliteStore::open(dir, &SqliteOptions::default()).expect("a store");
    let store: &dyn Store = &store;
    store.commit(&Commit { writes: (1..=WAITING).map(put).collect(), sync }).expect("room");
    let kind = Name::new("work").expect("a name");
    let commit = |first: u64, group: u64| {
        let mut writes = Vec::with_capacity(group as usize * 3);
        for turn in first..first + group {
            writes.push(Write::TakeMessage { row: Seq(turn + 1) });
            writes.push(Write::Put {
                space: Space::State,
                owner: AgentId(agent_of(turn)),
                key: Bytes::from_static(b"state"),
                value: Bytes::copy_from_slice(&bytes_of::<STATE_BYTES>(turn)),
            });
            writes.push(put_as(turn + 1 + WAITING, kind.clone()));
        }
        store.commit(&Commit { writes, sync })
    };
    measure(TURNS_MAX, group, TIME_MAX, commit).expect("commits")
}

fn put(row: u64) -> Write {
    put_as(row, Name::new("work").expect("a name"))
}

fn put_as(row: u64, kind: Name) -> Write {
    let message = Message {
        id: MessageId(u128::from_le_bytes(bytes_of::<16>(row))),
        sender: AgentId(1),
        kind,
        channel: Channel::Events,
        class: Class::Tell,
        failed_turns: 0,
        hops: 1,
        accepted_ns: row,
        row: None,
        body: Bytes::copy_from_slice(&bytes_of::<BODY_BYTES>(row)),
        rare: None,
    };
    Write::PutMessage { row: Seq(row), to: AgentId(agent_of(row)), message }
}

fn rusqlite(dir: &Path, group: u64) -> Run {
    raw::turns_per_s(dir, TURNS_MAX, group, TIME_MAX).expect("commits")
}

/// The same rows as keys and values: a message is its row and 48 bytes of columns before the body.
fn fjall(dir: &Path, group: u64) -> Run {
    let database = Database::builder(dir.join("fjall")).open().expect("a database");
    let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default).expect("a keyspace");
    let (messages, records) = (keyspace("message"), keyspace("record"));
    let body = bytes_of::<{ 48 + BODY_BYTES }>;
    let mut batch = database.batch();
    (1..=WAITING).for_each(|row| batch.insert(&messages, row.to_be_bytes(), body(row)));
    batch.commit().expect("room");
    measure(TURNS_MAX, group, TIME_MAX, |first, group| {
        let mut batch = database.batch().durability(Some(PersistMode::SyncData));
        for turn in first..first + group {
            let mut key = [0; 10];
            key[0] = 3;
            key[1..5].copy_from_slice(&agent_of(turn).to_be_bytes());
            key[5..].copy_from_slice(b"state");
            batch.remove(&messages, (turn + 1).to_be_bytes());
            batch.insert(&records, key, bytes_of::<STATE_BYTES>(turn));
            batch.insert(&messages, (turn + 1 + WAITING).to_be_bytes(), body(turn));
        }
        batch.commit()
    })
    .expect("commits")
}
