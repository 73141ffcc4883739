//! Skep's commit shape on the store, on bare rusqlite and on fjall, side by side in one run: the numbers of
//! `docs/decisions/0001-store.md`. Quote ratios of one run, never one figure alone.
//!
//! `cargo bench --workspace --bench commit -- [ROUNDS] [STORE] [group=N]`: each cell is the best of ROUNDS (default 3) runs of
//! at most a second, of the stores whose name begins with STORE.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use skep_core::{AgentId, Channel, Class, Message, MessageId, Name, Seq};
use skep_store::raw::{
    self, BODY_BYTES, KIND, Length, Run, STATE_BYTES, WAITING, accepted_ns, agent_of, bytes_of, measure, sender_of,
};
use skep_store::{Commit, Space, SqliteOptions, SqliteStore, Store, Sync, Write};

const TURNS_MAX: u64 = 1_000_000;
const TIME_MAX: Duration = Duration::from_secs(1);

type Outcome<T> = Result<T, Box<dyn Error>>;

type Contender = (&'static str, fn(&Path, u64) -> Outcome<Run>);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(3u32);
    let only_group: Option<u64> = arguments.iter().find_map(|argument| argument.strip_prefix("group=")?.parse().ok());
    let only = arguments.iter().find(|argument| argument.parse::<u32>().is_err() && !argument.contains('='));
    let contenders: [Contender; 4] =
        [("skep", skep), ("skep-process", skep_process), ("rusqlite", rusqlite), ("fjall", fjall)];
    let dir = scratch()?;
    println!("fdatasync of 200 B appended: {:.0} us", raw::fdatasync_us(dir.path())?);
    println!("{:>5} {:>13} {:>10} {:>9} {:>9} {:>9}", "group", "store", "turns/s", "p50 us", "p99 us", "to fjall");
    for group in [1, 16, 64, 256].into_iter().filter(|group| only_group.is_none_or(|only| only == *group)) {
        let mut best: [Option<Run>; 4] = [None; 4];
        for _ in 0..rounds {
            for (best, (name, run)) in best.iter_mut().zip(contenders) {
                if only.is_some_and(|only| !name.starts_with(only)) {
                    continue;
                }
                let dir = scratch()?;
                let run = run(dir.path(), group)?;
                if best.is_none_or(|best| run.turns_per_s > best.turns_per_s) {
                    *best = Some(run);
                }
            }
        }
        print(group, contenders.map(|contender| contender.0), &best);
    }
    Ok(())
}

fn print(group: u64, names: [&str; 4], best: &[Option<Run>; 4]) {
    let control = best.last().copied().flatten().map_or(f64::NAN, |run| run.turns_per_s);
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
fn scratch() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
}

fn skep(dir: &Path, group: u64) -> Outcome<Run> {
    on_trait(dir, group, Sync::Power)
}

fn skep_process(dir: &Path, group: u64) -> Outcome<Run> {
    on_trait(dir, group, Sync::Process)
}

fn on_trait(dir: &Path, group: u64, sync: Sync) -> Outcome<Run> {
    let store = SqliteStore::open(dir, &SqliteOptions::default())?;
    let store: &dyn Store = &store;
    let kind = Name::new(KIND)?;
    store.commit(&Commit { writes: (1..=WAITING).map(|row| put(row, kind.clone())).collect(), sync })?;
    let commit = |first: u64, group: u64| {
        let mut writes = Vec::new();
        for turn in first..first + group {
            writes.push(Write::TakeMessage { row: Seq(turn + 1) });
            writes.push(Write::Put {
                space: Space::State,
                owner: AgentId(agent_of(turn)),
                key: Bytes::from_static(b"state"),
                value: Bytes::copy_from_slice(&bytes_of::<STATE_BYTES>(turn)),
            });
            writes.push(put(turn + 1 + WAITING, kind.clone()));
        }
        store.commit(&Commit { writes, sync })
    };
    Ok(measure(TURNS_MAX, group, TIME_MAX, commit)?)
}

fn put(row: u64, kind: Name) -> Write {
    let message = Message {
        id: MessageId(u128::from_le_bytes(bytes_of::<16>(row))),
        sender: AgentId(sender_of(row)),
        kind,
        channel: Channel::Events,
        class: Class::Tell,
        failed_turns: 0,
        hops: 1,
        accepted_ns: accepted_ns(row),
        row: None,
        body: Bytes::copy_from_slice(&bytes_of::<BODY_BYTES>(row)),
        rare: None,
    };
    Write::PutMessage { row: Seq(row), to: AgentId(agent_of(row)), message }
}

fn rusqlite(dir: &Path, group: u64) -> Outcome<Run> {
    Ok(raw::turns_per_s(dir, group, Length { turns_max: TURNS_MAX, time_max: TIME_MAX, windows: 1 })?)
}

/// The same rows as keys and values: a message is its row and 48 bytes of columns before the body.
fn fjall(dir: &Path, group: u64) -> Outcome<Run> {
    let database = Database::builder(dir.join("fjall")).open()?;
    let messages = database.keyspace("message", KeyspaceCreateOptions::default)?;
    let records = database.keyspace("record", KeyspaceCreateOptions::default)?;
    let body = bytes_of::<{ 48 + BODY_BYTES }>;
    let mut batch = database.batch();
    (1..=WAITING).for_each(|row| batch.insert(&messages, row.to_be_bytes(), body(row)));
    batch.commit()?;
    let commit = |first: u64, group: u64| {
        let mut batch = database.batch().durability(Some(PersistMode::SyncData));
        for turn in first..first + group {
            let mut key = [3].to_vec();
            key.extend_from_slice(&agent_of(turn).to_be_bytes());
            key.extend_from_slice(b"state");
            batch.remove(&messages, (turn + 1).to_be_bytes());
            batch.insert(&records, key, bytes_of::<STATE_BYTES>(turn));
            batch.insert(&messages, (turn + 1 + WAITING).to_be_bytes(), body(turn));
        }
        batch.commit()
    };
    Ok(measure(TURNS_MAX, group, TIME_MAX, commit)?)
}
