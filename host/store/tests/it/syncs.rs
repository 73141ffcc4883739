//! What is synced and when: the half of the promise about power loss that can be seen from inside.

use std::path::Path;

use skep_store::{Commit, SqliteOptions, SqliteStore, Store, Sync, Write};

use crate::child::{self, Running};
use crate::faults::faulty;
use crate::support::put;

const NOTHING: [Write; 0] = [];

fn syncs() -> String {
    let path = std::env::var("SKEP_SYNCS").unwrap();
    let counted = std::fs::read_to_string(&path).unwrap_or_default();
    let _ = std::fs::remove_file(&path);
    counted
}

/// The child: commits in several ways and tells what was synced by each.
pub(crate) fn count_syncs(dir: &Path) {
    let store = SqliteStore::open(dir, &SqliteOptions::default()).unwrap();
    let mut value = 0u8;
    let commit = |what: &str, writes: Vec<Write>, sync: Sync| {
        store.commit(&Commit { writes, sync }).unwrap();
        child::tell(&format!("{what}: [{}]", syncs()));
    };
    let mut change = || {
        value += 1;
        vec![put(1, b"key", &[value])]
    };
    // The first one also syncs the header of the log.
    commit("first", change(), Sync::Power);
    commit("process", change(), Sync::Process);
    commit("power", change(), Sync::Power);
    commit("process", change(), Sync::Process);
    commit("power without a write", NOTHING.to_vec(), Sync::Power);
    commit("power without a debt", NOTHING.to_vec(), Sync::Power);
    commit("process", change(), Sync::Process);
    commit("power without a change", vec![Write::TakeMessage { row: skep_core::Seq(9) }], Sync::Power);
}

#[test]
fn a_power_commit_syncs_the_log_also_for_those_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = faulty("count-syncs", dir.path());
    command.env("SKEP_SYNCS", dir.path().join("syncs"));
    let told = Running::start(command).rest();
    assert!(told[0].starts_with("first: [") && told[0].ends_with("l]"), "{told:?}");
    assert_eq!(
        told[1..],
        [
            "process: []",
            "power: [l]",
            "process: []",
            "power without a write: [l]",
            "power without a debt: []",
            "process: []",
            "power without a change: [l]",
        ]
    );
}

/// The child: makes the log move after one commit that was not synced.
pub(crate) fn count_syncs_of_a_checkpoint(dir: &Path) {
    let options = SqliteOptions { log_bytes_soft_max: 0, ..SqliteOptions::default() };
    let store = SqliteStore::open(dir, &options).unwrap();
    syncs();
    store.commit(&Commit { writes: vec![put(1, b"key", b"value")], sync: Sync::Process }).unwrap();
    let moved = std::iter::repeat_with(|| store.stats().checkpoints).take(10_000_000);
    assert!(moved.inspect(|_| std::thread::yield_now()).any(|count| count > 0), "no checkpoint");
    child::tell(&syncs());
}

#[test]
fn a_checkpoint_syncs_the_log_before_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = faulty("count-syncs-of-a-checkpoint", dir.path());
    command.env("SKEP_SYNCS", dir.path().join("syncs"));
    let told = Running::start(command).rest();
    assert!(told[0].starts_with('l') && told[0].ends_with('f'), "{told:?}");
}
