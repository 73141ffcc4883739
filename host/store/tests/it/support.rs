//! Small makers of messages and commits.

use bytes::Bytes;
use skep_core::{AgentId, Channel, Class, Message, MessageId, Name, Seq};
use skep_store::{Commit, Space, Sync, Write};

pub(crate) fn message(id: u128, body: &[u8]) -> Message {
    Message {
        id: MessageId(id),
        sender: AgentId(7),
        kind: Name::new("work").unwrap(),
        channel: Channel::Events,
        class: Class::Tell,
        failed_turns: 0,
        hops: 1,
        accepted_ns: 1_700_000_000_000_000_000,
        row: None,
        body: Bytes::copy_from_slice(body),
        rare: None,
    }
}

pub(crate) fn put_message(row: u64, id: u128) -> Write {
    Write::PutMessage { row: Seq(row), to: AgentId(2), message: message(id, b"body") }
}

pub(crate) fn put(owner: u32, key: &[u8], value: &[u8]) -> Write {
    let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    Write::Put { space: Space::State, owner: AgentId(owner), key, value }
}

pub(crate) fn commit(writes: Vec<Write>) -> Commit {
    Commit { writes, sync: Sync::Process }
}
