//! What goes in comes out, in every shape that a message can have.

use std::sync::Arc;

use bytes::Bytes;
use skep_core::{AgentId, AskFailure, Channel, Class, ExitReason, Message, MessageId, Rare, Refusal, SendError, Seq};
use skep_store::{MemoryStore, SqliteOptions, SqliteStore, Store, Write};

use crate::support::{commit, message};

fn failures() -> Vec<AskFailure> {
    let text = || "why \u{1b} ü".to_owned();
    let linked = ExitReason::Linked(Box::new(ExitReason::ShutdownBecause(text())));
    let sends = [
        SendError::Full,
        SendError::Absent,
        SendError::Denied(text()),
        SendError::TooLarge(9),
        SendError::Invalid(text()),
        SendError::Limit(text()),
    ];
    let refusals = [
        Refusal::Invalid(text()),
        Refusal::UnknownKind(text()),
        Refusal::Denied(text()),
        Refusal::Unavailable(text()),
        Refusal::Failed(text()),
    ];
    let exits = [
        ExitReason::Normal,
        ExitReason::Shutdown,
        ExitReason::Killed,
        ExitReason::StartFailed(text()),
        ExitReason::Error(text()),
        ExitReason::TurnFailed(text()),
        ExitReason::CrashLoop,
        ExitReason::StateUnreadable(text()),
        linked,
        ExitReason::NoAgent,
    ];
    let mut all = vec![AskFailure::Timeout, AskFailure::DeadLetter, AskFailure::Cycle(text())];
    all.extend(sends.map(AskFailure::NotSent));
    all.extend(refusals.map(AskFailure::Refused));
    all.extend(exits.map(AskFailure::Down));
    all
}

fn messages() -> Vec<Message> {
    let answer =
        |failure: Option<AskFailure>| Class::Answer { ask: MessageId(u128::MAX), failure: failure.map(Box::new) };
    let mut classes = vec![
        Class::Tell,
        Class::Ask { deadline_ns: u64::MAX, blocking: false },
        Class::Ask { deadline_ns: 0, blocking: true },
        Class::Timer { missed: u32::MAX },
        Class::Down,
        Class::Published { topic: Arc::from("a/b c'd") },
        answer(None),
    ];
    classes.extend(failures().into_iter().map(|failure| answer(Some(failure))));
    let rares = [
        None,
        Some(Rare::default()),
        Some(Rare {
            content_type: Some("text/plain".to_owned()),
            headers: vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "\u{0}\n\"".to_owned())],
            traceparent: Some("00-x".to_owned()),
            retry_of: Some(MessageId(1)),
            client_id: Some(MessageId(u128::MAX)),
        }),
    ];
    let mut all = Vec::new();
    for (number, class) in classes.into_iter().enumerate() {
        for (rare, channel) in rares.iter().zip(Channel::ALL.into_iter().cycle().skip(number)) {
            let id = all.len() as u128 + 1;
            let body = vec![number as u8; number * 700];
            let extremes = Message { failed_turns: u32::MAX, hops: 3, accepted_ns: u64::MAX, ..message(id, &body) };
            all.push(Message { class: class.clone(), channel, rare: rare.clone().map(Box::new), ..extremes });
        }
    }
    all
}

fn check(store: &dyn Store) {
    let expected: Vec<Message> =
        messages().into_iter().zip(1..).map(|(message, row)| Message { row: Some(Seq(row)), ..message }).collect();
    let writes = expected.iter().map(|message| Write::PutMessage {
        row: message.row.unwrap(),
        to: AgentId(u32::MAX),
        message: Message { row: None, ..message.clone() },
    });
    store.commit(&commit(writes.collect())).unwrap();
    let found = store.messages(Seq(0), usize::MAX).unwrap();
    assert!(found.iter().all(|stored| stored.to == AgentId(u32::MAX)));
    assert_eq!(found.into_iter().map(|stored| stored.message).collect::<Vec<_>>(), expected);
}

#[test]
fn every_shape_of_message_comes_back_from_memory() {
    check(&MemoryStore::new());
}

#[test]
fn every_shape_of_message_comes_back_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    check(&SqliteStore::open(dir.path(), &SqliteOptions::default()).unwrap());
}

#[test]
fn large_and_empty_values_come_back_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let large = vec![0xa5; 5 << 20];
    let values = [(b"".as_slice(), b"empty key".as_slice()), (&[0xff; 512], &large), (b"empty", b"")];
    let store = SqliteStore::open(dir.path(), &SqliteOptions::default()).unwrap();
    store.commit(&commit(values.iter().map(|(key, value)| crate::support::put(1, key, value)).collect())).unwrap();
    drop(store);
    let store = SqliteStore::open(dir.path(), &SqliteOptions::default()).unwrap();
    let keys = values.map(|(key, _)| Bytes::copy_from_slice(key));
    let found = store.get(skep_store::Space::State, AgentId(1), &keys).unwrap();
    assert_eq!(found, values.map(|(_, value)| Some(Bytes::copy_from_slice(value))));
}
