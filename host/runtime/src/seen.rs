//! What is remembered of clients' messages, under the ids that they gave them: for a window, so that what is sent again is
//! handled once and answered alike. Never tells anybody: who waits for an answer is in `outside`.

use std::collections::VecDeque;

use skep_core::{AgentId, AskFailure, Bytes, IdMap, MessageId};
use skep_store::{Space, Write};

use crate::record::{SeenEnd, SeenRecord, id_key};

/// Ids of clients that are remembered; beyond it the oldest are forgotten before their window ends.
const SEEN_MAX: usize = 1_000_000;
/// Bytes of replies that are remembered with them.
const SEEN_BYTES_MAX: usize = 256 << 20;

pub(crate) type Reply = Result<Bytes, AskFailure>;

/// What a client's id says about its message.
pub(crate) enum Known {
    /// It is new, and noted.
    New,
    /// It is on its way, or its reply is still owed.
    UnderWay,
    /// It has ended.
    Ended(Reply),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Seen {
    entries: IdMap<MessageId, Entry>,
    order: VecDeque<(u64, MessageId)>,
    bytes: usize,
}

struct Entry {
    /// It is as durable as its receiver: who sends it again may be told so.
    stored: bool,
    owner: AgentId,
    time_ns: u64,
    end: SeenEnd,
    body: Bytes,
}

impl Seen {
    /// Looks an id up, and notes it if it is new. What is forgotten for it, or because its window has ended, goes with the
    /// writes.
    pub(crate) fn note(&mut self, id: MessageId, owner: AgentId, now_ns: u64, window_ns: u64) -> (Known, Vec<Write>) {
        let mut forgotten = self.expire(now_ns.saturating_sub(window_ns));
        let known = match self.entries.get(&id) {
            Some(entry) => entry.end.result(entry.body.clone()).map_or(Known::UnderWay, Known::Ended),
            None => {
                let end = SeenEnd::Taken;
                let entry = Entry { stored: false, owner, time_ns: now_ns, end, body: Bytes::new() };
                forgotten.append(&mut self.insert(id, entry));
                Known::New
            }
        };
        (known, forgotten)
    }

    /// The message is as durable as its receiver by now.
    pub(crate) fn stored(&mut self, id: MessageId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.stored = true;
        }
    }

    /// Whether it is; none if nothing is known of it.
    pub(crate) fn is_stored(&self, id: MessageId) -> Option<bool> {
        self.entries.get(&id).map(|entry| entry.stored)
    }

    /// Its ask has ended, if it is known. Gives the writes that forget what had to make place for the reply.
    pub(crate) fn end(&mut self, id: MessageId, result: &Reply, now_ns: u64) -> Vec<Write> {
        let Some(entry) = self.entries.get(&id) else { return Vec::new() };
        let body = result.clone().unwrap_or_default();
        let owner = entry.owner;
        self.insert(id, Entry { stored: true, owner, time_ns: now_ns, end: SeenEnd::of(result), body })
    }

    /// What the store remembers of it.
    pub(crate) fn load(&mut self, id: MessageId, owner: AgentId, record: SeenRecord, body: Bytes) {
        drop(self.insert(id, Entry { stored: true, owner, time_ns: record.time_ns, end: record.end, body }));
    }

    /// The message was not taken after all.
    pub(crate) fn remove(&mut self, id: MessageId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.bytes = self.bytes.saturating_sub(entry.body.len());
        }
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn insert(&mut self, id: MessageId, entry: Entry) -> Vec<Write> {
        self.bytes += entry.body.len();
        self.order.push_back((entry.time_ns, id));
        if let Some(before) = self.entries.insert(id, entry) {
            self.bytes = self.bytes.saturating_sub(before.body.len());
        }
        let mut forgotten = Vec::new();
        while !self.order.is_empty() && (self.entries.len() > SEEN_MAX || self.bytes > SEEN_BYTES_MAX) {
            forgotten.extend(self.pop_oldest());
        }
        forgotten
    }

    fn expire(&mut self, before_ns: u64) -> Vec<Write> {
        let mut expired = Vec::new();
        while self.order.front().is_some_and(|(time_ns, _)| *time_ns < before_ns) {
            expired.extend(self.pop_oldest());
        }
        expired
    }

    /// The write that forgets it too; none if it was seen again since, and stands further back.
    fn pop_oldest(&mut self) -> Option<Write> {
        let (time_ns, id) = self.order.pop_front()?;
        let owner = self.entries.get(&id).filter(|entry| entry.time_ns == time_ns)?.owner;
        self.remove(id);
        Some(Write::Delete { space: Space::Seen, owner, key: id_key(id) })
    }
}
