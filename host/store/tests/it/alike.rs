//! Whatever is done to them, memory and disk say the same. What memory says is short enough to be read as the meaning.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use skep_core::{AgentId, Seq};
use skep_store::{Commit, MemoryStore, Space, SqliteOptions, SqliteStore, Store, Sync, Write};

use crate::support::message;

/// One thing that is done to both.
#[derive(Clone, Debug)]
enum Step {
    Commit(Commit),
    Get(Space, AgentId, Vec<Bytes>),
    Scan { space: Space, owner: AgentId, prefix: Bytes, after: Option<Bytes>, bytes_max: usize },
    Messages(Seq, usize),
    Owners(Space),
    Reopen,
}

fn spaces() -> impl Strategy<Value = Space> {
    prop_oneof![Just(Space::Hive), Just(Space::State), Just(Space::Call)]
}

fn owners() -> impl Strategy<Value = AgentId> {
    prop_oneof![Just(AgentId(0)), Just(AgentId(1)), Just(AgentId(2)), Just(AgentId(u32::MAX))]
}

/// Few and alike, so that keys meet and are prefixes of each other; now and then one that is too long.
fn keys() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        30 => vec(prop_oneof![Just(0u8), Just(b'a'), Just(0xff)], 0..4).prop_map(Bytes::from),
        1 => Just(Bytes::from(vec![b'a'; 512])),
        1 => Just(Bytes::from(vec![b'a'; 513])),
    ]
}

fn values() -> impl Strategy<Value = Bytes> {
    prop_oneof![8 => vec(any::<u8>(), 0..20), 1 => (any::<u8>(), 3000..9000usize).prop_map(|(byte, len)| vec![byte; len])].prop_map(Bytes::from)
}

fn rows() -> impl Strategy<Value = Seq> {
    prop_oneof![40 => 1..12u64, 1 => Just(0), 1 => Just(i64::MAX as u64), 1 => Just(u64::MAX)].prop_map(Seq)
}

fn writes() -> impl Strategy<Value = Write> {
    prop_oneof![
        // The id mostly follows from the row, so that most puts on a taken row are repetitions.
        4 => (rows(), owners(), 0..8u32, values()).prop_map(|(row, to, luck, body)| {
            let id = u128::from(row.0) + u128::from(luck == 0);
            Write::PutMessage { row, to, message: message(id, &body) }
        }),
        4 => rows().prop_map(|row| Write::TakeMessage { row }),
        6 => (spaces(), owners(), keys(), values())
            .prop_map(|(space, owner, key, value)| Write::Put { space, owner, key, value }),
        2 => (spaces(), owners(), keys()).prop_map(|(space, owner, key)| Write::Delete { space, owner, key }),
        1 => (spaces(), owners()).prop_map(|(space, owner)| Write::DeleteAll { space, owner }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let sync = prop_oneof![Just(Sync::Process), Just(Sync::Power)];
    prop_oneof![
        8 => (vec(writes(), 0..12), sync).prop_map(|(writes, sync)| Step::Commit(Commit { writes, sync })),
        2 => (spaces(), owners(), vec(keys(), 0..4)).prop_map(|(space, owner, keys)| Step::Get(space, owner, keys)),
        4 => (spaces(), owners(), keys(), proptest::option::of(keys()), 0..60usize).prop_map(
            |(space, owner, prefix, after, bytes_max)| Step::Scan { space, owner, prefix, after, bytes_max }
        ),
        2 => (rows(), prop_oneof![0..5usize, Just(usize::MAX)]).prop_map(|(after, count)| Step::Messages(after, count)),
        1 => spaces().prop_map(Step::Owners),
        1 => Just(Step::Reopen),
    ]
}

/// What a store says to a step, as a text; of errors only the code.
fn said(store: &dyn Store, step: &Step) -> String {
    let told = match step {
        Step::Commit(commit) => store.commit(commit).map(|()| String::new()),
        Step::Get(space, owner, keys) => store.get(*space, *owner, keys).map(|found| format!("{found:?}")),
        Step::Scan { space, owner, prefix, after, bytes_max } => {
            store.scan(*space, *owner, prefix, after.as_deref(), *bytes_max).map(|page| format!("{page:?}"))
        }
        Step::Messages(after, count_max) => store.messages(*after, *count_max).map(|found| format!("{found:?}")),
        Step::Owners(space) => store.owners(*space).map(|found| format!("{found:?}")),
        Step::Reopen => Ok(String::new()),
    };
    told.unwrap_or_else(|error| error.code().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_disk_say_the_same(steps in vec(steps(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let open = || SqliteStore::open(dir.path(), &SqliteOptions::default()).unwrap();
        let (memory, mut disk) = (MemoryStore::new(), open());
        for step in &steps {
            if matches!(step, Step::Reopen) {
                drop(disk);
                disk = open();
            }
            prop_assert_eq!(said(&memory, step), said(&disk, step), "{:?}", step);
        }
        let all = Step::Messages(Seq(0), usize::MAX);
        prop_assert_eq!(said(&memory, &all), said(&disk, &all));
    }
}
