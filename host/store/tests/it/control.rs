//! The control of the benches writes what the store writes: the store reads it back.

use std::time::Duration;

use bytes::Bytes;
use skep_core::{AgentId, Seq};
use skep_store::raw::{self, BODY_BYTES, KIND, Length, STATE_BYTES, WAITING, agent_of, bytes_of};
use skep_store::{Space, SqliteOptions, SqliteStore, Store};

#[test]
fn the_store_reads_what_the_control_has_written() {
    let dir = tempfile::tempdir().unwrap();
    let length = Length { turns_max: 48, time_max: Duration::MAX, windows: 2 };
    let run = raw::turns_per_s(dir.path(), 16, length).unwrap();
    assert!(run.turns_per_s > 0.0 && run.commit_p50 <= run.commit_p99);
    let store = SqliteStore::open(dir.path(), &SqliteOptions::default()).unwrap();
    let held = store.messages(Seq(0), usize::MAX).unwrap();
    let rows: Vec<Seq> = held.iter().filter_map(|held| held.message.row).collect();
    assert_eq!(rows, (97..=96 + WAITING).map(Seq).collect::<Vec<_>>());
    for held in &held {
        assert_eq!((held.message.kind.as_str(), held.message.body.len()), (KIND, BODY_BYTES));
        assert_ne!(held.message.sender, held.to);
    }
    for turn in 0..96 {
        let state = store.get(Space::State, AgentId(agent_of(turn)), &[Bytes::from_static(b"state")]).unwrap();
        assert_eq!(state[0].as_deref(), Some(bytes_of::<STATE_BYTES>(turn).as_slice()));
    }
}

#[test]
fn a_sync_takes_time_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    assert!(raw::fdatasync_us(dir.path()).unwrap() > 0.0);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
