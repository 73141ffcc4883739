//! The names this host wants to hold and who holds which, and the writing that makes one follow the other. Never takes a
//! name from a host that has it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::kv::Operation;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use skep_core::Name;
use tokio::sync::{Notify, watch};

use super::address::Addresses;
use super::bucket;
use super::connection::Line;
use super::gate::{Gate, Ground};
use super::pace::Pauses;
use super::word::{Teller, Word};

/// How many names a host can hold.
pub const NAMES_MAX: usize = 65_536;

/// How many writes are under way at once: the server's disk takes many in one sync.
const WRITES_MAX: usize = 64;
/// How often one name is tried again at once when others write it at the same time.
const TRIES_MAX: u32 = 4;

/// What is wanted and what is.
#[derive(Debug)]
pub(super) struct Names {
    host: Name,
    book: Mutex<Book>,
    /// The round of the gate whose bucket is wholly known.
    settled: watch::Sender<u64>,
    work: Notify,
}

#[derive(Debug, Default)]
struct Book {
    wanted: HashSet<Name>,
    seen: HashMap<Name, Seen>,
    /// To be looked at: wanted and held are not known to be the same.
    open: HashSet<Name>,
    looks: u64,
}

#[derive(Debug)]
struct Seen {
    host: Name,
    revision: u64,
    look: u64,
}

/// What is to be done about a name.
#[derive(Debug, PartialEq, Eq)]
enum Todo {
    Nothing,
    Put,
    Remove(u64),
    Tell(Name),
}

impl Names {
    pub(super) fn new(host: Name) -> Self {
        Self { host, book: Mutex::default(), settled: watch::channel(0).0, work: Notify::new() }
    }

    /// Wants a name; false if there are too many.
    pub(super) fn hold(&self, name: Name) -> bool {
        let mut book = self.book.lock();
        if book.wanted.len() >= NAMES_MAX && !book.wanted.contains(&name) {
            return false;
        }
        book.open.insert(name.clone());
        book.wanted.insert(name);
        self.work.notify_one();
        true
    }

    /// Does not want a name any more.
    pub(super) fn free(&self, name: &Name) {
        let mut book = self.book.lock();
        if book.wanted.remove(name) {
            book.open.insert(name.clone());
            self.work.notify_one();
        }
    }

    /// The number of a new look at the whole bucket.
    pub(super) fn next_look(&self) -> u64 {
        let mut book = self.book.lock();
        book.looks += 1;
        book.looks
    }

    /// An entry was seen.
    pub(super) fn held(&self, name: &Name, host: &Name, revision: u64, look: u64) -> Vec<Word> {
        let mut book = self.book.lock();
        if book.is_old(name, revision, look) {
            return Vec::new();
        }
        let before = book.seen.insert(name.clone(), Seen { host: host.clone(), revision, look });
        let wanted = book.wanted.contains(name);
        if (*host == self.host) != wanted {
            book.open.insert(name.clone());
            self.work.notify_one();
        }
        match before {
            Some(before) if before.host == *host => Vec::new(),
            Some(before) if *host == self.host && before.host != self.host => {
                vec![Word::NameFree { name: name.clone() }]
            }
            _ if *host == self.host => Vec::new(),
            _ => vec![Word::NameHeld { name: name.clone(), host: host.clone() }],
        }
    }

    /// The mark of an entry that is gone was seen.
    pub(super) fn gone(&self, name: &Name, revision: u64, look: u64) -> Vec<Word> {
        let mut book = self.book.lock();
        if book.is_old(name, revision, look) {
            return Vec::new();
        }
        self.forget(&mut book, name)
    }

    /// All of the bucket was seen in this look.
    pub(super) fn settle(&self, look: u64, round: u64) -> Vec<Word> {
        let mut book = self.book.lock();
        let gone: Vec<Name> =
            book.seen.iter().filter(|(_, seen)| seen.look != look).map(|(name, _)| name.clone()).collect();
        let words = gone.iter().flat_map(|name| self.forget(&mut book, name)).collect();
        let missing: Vec<Name> = book.wanted.iter().filter(|name| !book.seen.contains_key(*name)).cloned().collect();
        book.open.extend(missing);
        self.work.notify_one();
        self.settled.send_replace(round);
        words
    }

    fn forget(&self, book: &mut Book, name: &Name) -> Vec<Word> {
        if book.wanted.contains(name) {
            book.open.insert(name.clone());
            self.work.notify_one();
        }
        match book.seen.remove(name) {
            Some(seen) if seen.host != self.host => vec![Word::NameFree { name: name.clone() }],
            _ => Vec::new(),
        }
    }

    /// Waits until all of a round's bucket is known.
    async fn until_settled(&self, round: u64) {
        let _ = self.settled.subscribe().wait_for(|settled| *settled >= round).await;
    }

    /// Some names to look at; waits until there is one.
    async fn take(&self) -> Vec<Name> {
        loop {
            {
                let mut book = self.book.lock();
                let some: Vec<Name> = book.open.iter().take(WRITES_MAX * 4).cloned().collect();
                for name in &some {
                    book.open.remove(name);
                }
                if !some.is_empty() {
                    return some;
                }
            }
            self.work.notified().await;
        }
    }

    fn again(&self, name: Name) {
        self.book.lock().open.insert(name);
        self.work.notify_one();
    }

    fn todo(&self, name: &Name) -> Todo {
        let book = self.book.lock();
        match (book.wanted.contains(name), book.seen.get(name)) {
            (true, None) => Todo::Put,
            (true, Some(seen)) if seen.host != self.host => Todo::Tell(seen.host.clone()),
            (false, Some(seen)) if seen.host == self.host => Todo::Remove(seen.revision),
            _ => Todo::Nothing,
        }
    }
}

impl Book {
    /// Whether more was seen already: a write is known here before the bucket's watcher sees it.
    fn is_old(&self, name: &Name, revision: u64, look: u64) -> bool {
        self.seen.get(name).is_some_and(|seen| seen.look == look && seen.revision > revision)
    }
}

/// Writes what is wanted.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) line: Line,
    pub(super) addresses: Arc<Addresses>,
    pub(super) gate: Gate,
    pub(super) names: Arc<Names>,
    pub(super) teller: Teller,
}

impl Writer {
    /// Writes whenever there is a bucket to write to.
    pub(super) async fn write(self) {
        loop {
            let ground = self.gate.open().await;
            tokio::select! {
                () = self.write_to(&ground) => {}
                // What was under way is looked at again with the whole bucket.
                () = self.gate.left(ground.round) => {}
            }
        }
    }

    async fn write_to(&self, ground: &Ground) {
        self.names.until_settled(ground.round).await;
        let mut pauses = Pauses::default();
        loop {
            let names = self.names.take().await;
            let failed = stream::iter(names)
                .map(|name| async move { self.one(ground, &name).await.err().map(|why| (name, why)) })
                .buffer_unordered(WRITES_MAX)
                .filter_map(std::future::ready)
                .collect::<Vec<_>>()
                .await;
            let Some((_, why)) = failed.first() else {
                pauses.reset();
                continue;
            };
            self.teller.trouble(format!("names cannot be written: {why}"));
            pauses.next().await;
            failed.into_iter().for_each(|(name, _)| self.names.again(name));
        }
    }

    async fn one(&self, ground: &Ground, name: &Name) -> Result<(), String> {
        for _ in 0..TRIES_MAX {
            let written = match self.names.todo(name) {
                Todo::Nothing => return Ok(()),
                Todo::Tell(by) => {
                    self.teller.tell(Word::NameTaken { name: name.clone(), by }).await;
                    return Ok(());
                }
                Todo::Put => self.put(ground, name).await?,
                Todo::Remove(revision) => self.remove(name, revision).await?,
            };
            if written {
                return Ok(());
            }
        }
        Err(format!("{name} is written by others all the time"))
    }

    /// Puts a name where none is, after a look at what is there.
    async fn put(&self, ground: &Ground, name: &Name) -> Result<bool, String> {
        let key = Addresses::name_key(name);
        let mut last = 0;
        for _ in 0..TRIES_MAX {
            let value = Bytes::copy_from_slice(self.names.host.as_str().as_bytes());
            match bucket::put(&self.line.jetstream, self.addresses.entry(&key), value, last, None).await {
                Ok(revision) => {
                    self.saw(name, &self.names.host.clone(), revision).await;
                    return Ok(true);
                }
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {}
                Err(error) => return Err(error.to_string()),
            }
            match ground.store.entry(&*key).await.map_err(|error| error.to_string())? {
                None => last = 0,
                Some(entry) if entry.operation != Operation::Put => last = entry.revision,
                Some(entry) => {
                    let holder = str::from_utf8(&entry.value).ok().and_then(|text| Name::new(text).ok());
                    let holder = holder.ok_or_else(|| format!("the entry of {name} is not understood"))?;
                    self.saw(name, &holder, entry.revision).await;
                    return Ok(holder == self.names.host);
                }
            }
        }
        Ok(false)
    }

    /// Removes this host's entry; false if it is another one by now.
    async fn remove(&self, name: &Name, revision: u64) -> Result<bool, String> {
        let subject = self.addresses.entry(&Addresses::name_key(name));
        match bucket::remove(&self.line.jetstream, subject, revision).await {
            Ok(()) => Ok(true),
            // The watcher tells what is there now.
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(true),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn saw(&self, name: &Name, host: &Name, revision: u64) {
        let look = self.names.book.lock().looks;
        for word in self.names.held(name, host, revision, look) {
            self.teller.tell(word).await;
        }
    }
}
