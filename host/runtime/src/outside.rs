//! Messages from outside: of the embedding program, an operator or a client. A client's own message id is remembered for
//! a window, so that what is sent again is handled once and answered alike.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use skep_bus::policy::{Policy, WhenFull};
use skep_bus::route::{Asked, Rule};
use skep_core::{AgentId, AskFailure, Bytes, Channel, Class, Lineage, Message, MessageId, Name, Rare, SendError};
use skep_store::{Space, Write};
use tokio::sync::oneshot;

use crate::cell::Cell;
use crate::error::Error;
use crate::hive::Hive;
use crate::record::{SeenEnd, SeenRecord, encode, id_key};

/// Ids of clients that are remembered; beyond it the oldest are forgotten before their window ends.
const SEEN_MAX: usize = 1_000_000;
/// Bytes of replies that are remembered with them.
const SEEN_BYTES_MAX: usize = 256 << 20;

type Reply = Result<Bytes, AskFailure>;

/// What is rare about a message from outside.
#[derive(Clone, Debug, Default)]
pub struct SendOptions {
    /// The channel; none is `events`.
    pub channel: Option<Channel>,
    /// The client's own id of the message. The same id again to the same agent, within the hive's window, is handled
    /// once, and its ask gets the same reply.
    pub client_id: Option<String>,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The media type of the body.
    pub content_type: Option<String>,
}

/// What is rare about an ask from outside.
#[derive(Clone, Debug)]
pub struct AskOptions {
    /// As for any message.
    pub send: SendOptions,
    /// How long the reply is waited for.
    pub timeout: Duration,
}

impl Default for AskOptions {
    fn default() -> Self {
        Self { send: SendOptions::default(), timeout: Duration::from_secs(5) }
    }
}

/// See the module.
pub(crate) struct Outside {
    waiting: Mutex<HashMap<MessageId, Vec<oneshot::Sender<Reply>>>>,
    seen: Mutex<Seen>,
    nonce: u64,
    next: AtomicU64,
}

#[derive(Default)]
struct Seen {
    entries: HashMap<MessageId, SeenEntry>,
    order: VecDeque<(u64, MessageId)>,
    bytes: usize,
}

struct SeenEntry {
    owner: AgentId,
    time_ns: u64,
    end: SeenEnd,
    body: Bytes,
}

impl Outside {
    pub(crate) fn new(nonce: u64) -> Self {
        Self { waiting: Mutex::default(), seen: Mutex::default(), nonce, next: AtomicU64::new(0) }
    }

    fn new_id(&self) -> MessageId {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        MessageId::derive(MessageId(u128::from(count)), Lineage(self.nonce), 0)
    }

    /// An ask from outside has ended: whoever waits for it is told, and it is remembered.
    pub(crate) fn finish(&self, hive: &Hive, ask: MessageId, result: Reply) {
        self.seen.lock().end(ask, &result, hive.clock.wall_ns());
        for waiter in self.waiting.lock().remove(&ask).unwrap_or_default() {
            // One that waits no longer has had its time-out.
            let _ = waiter.send(result.clone());
        }
    }

    /// Whether a message of an agent without durability is new to its durable receiver: its id is that of its cause, so
    /// what a client sends again comes to the same. Notes it.
    pub(crate) fn is_new(&self, hive: &Arc<Hive>, to: &Cell, id: MessageId) -> bool {
        matches!(note(hive, to, id), Known::New)
    }

    /// What the store remembers of a client's message.
    pub(crate) fn load(&self, id: MessageId, owner: AgentId, record: SeenRecord, body: Bytes) {
        let entry = SeenEntry { owner, time_ns: record.time_ns, end: record.end, body };
        drop(self.seen.lock().insert(id, entry));
    }

    pub(crate) fn seen_count(&self) -> usize {
        self.seen.lock().entries.len()
    }
}

impl Seen {
    fn insert(&mut self, id: MessageId, entry: SeenEntry) -> Vec<(AgentId, MessageId)> {
        self.bytes += entry.body.len();
        self.order.push_back((entry.time_ns, id));
        if let Some(before) = self.entries.insert(id, entry) {
            self.bytes = self.bytes.saturating_sub(before.body.len());
        }
        let mut forgotten = Vec::new();
        while self.entries.len() > SEEN_MAX || self.bytes > SEEN_BYTES_MAX {
            match self.pop_oldest() {
                Some(old) => forgotten.push(old),
                None => break,
            }
        }
        forgotten
    }

    fn pop_oldest(&mut self) -> Option<(AgentId, MessageId)> {
        let (time_ns, id) = self.order.pop_front()?;
        // An id that was seen again since stands further back.
        if self.entries.get(&id).is_some_and(|entry| entry.time_ns == time_ns) {
            let entry = self.entries.remove(&id)?;
            self.bytes = self.bytes.saturating_sub(entry.body.len());
            return Some((entry.owner, id));
        }
        Some((AgentId::OUTSIDE, id))
    }

    fn end(&mut self, id: MessageId, result: &Reply, now_ns: u64) {
        let Some(entry) = self.entries.get(&id) else { return };
        let body = result.clone().unwrap_or_default();
        let owner = entry.owner;
        drop(self.insert(id, SeenEntry { owner, time_ns: now_ns, end: SeenEnd::of(result), body }));
    }

    /// Ids whose window has ended.
    fn expire(&mut self, before_ns: u64) -> Vec<(AgentId, MessageId)> {
        let mut expired = Vec::new();
        while self.order.front().is_some_and(|(time_ns, _)| *time_ns < before_ns) {
            expired.extend(self.pop_oldest());
        }
        expired.retain(|(owner, _)| *owner != AgentId::OUTSIDE);
        expired
    }
}

/// What a client's id says about its message.
enum Known {
    /// It is new, and noted.
    New,
    /// It is on its way, or its reply is still owed.
    UnderWay,
    /// It has ended.
    Ended(Reply),
}

/// Sends, and returns once the message is as durable as its receiver.
pub(crate) async fn send(
    hive: &Arc<Hive>,
    to: &str,
    kind: &str,
    body: Bytes,
    options: SendOptions,
) -> Result<MessageId, Error> {
    let cell = hive.directory.find(to)?;
    let message = message(hive, &cell, kind, body, options, Class::Tell)?;
    send_message(hive, &cell, message).await
}

/// As `send`, of a message that repeats another one.
pub(crate) async fn send_again(hive: &Arc<Hive>, to: &str, dead: Message) -> Result<MessageId, Error> {
    let cell = hive.directory.find(to)?;
    let before = dead.rare.map(|rare| *rare).unwrap_or_default();
    let rare = Rare { retry_of: Some(dead.id), client_id: None, ..before };
    let options = SendOptions { channel: Some(dead.channel), ..SendOptions::default() };
    let mut message = message(hive, &cell, dead.kind.as_str(), dead.body, options, Class::Tell)?;
    message.rare = Some(Box::new(rare));
    send_message(hive, &cell, message).await
}

async fn send_message(hive: &Arc<Hive>, cell: &Arc<Cell>, mut message: Message) -> Result<MessageId, Error> {
    let id = message.id;
    if message.rare.as_ref().is_some_and(|rare| rare.client_id.is_some()) {
        match note(hive, cell, id) {
            Known::New => {}
            Known::UnderWay | Known::Ended(_) => return Ok(id),
        }
    }
    let weight_bytes = message.weight_bytes();
    if let Err(error) = reserve(cell, &message, weight_bytes).await {
        forget(hive, id);
        return Err(error);
    }
    if let Some(committer) = hive.committer.as_ref().filter(|_| cell.is_durable()) {
        let row = committer.next_row();
        message.row = Some(row);
        let mut writes = vec![Write::PutMessage { row, to: cell.id, message: message.clone() }];
        if message.rare.as_ref().is_some_and(|rare| rare.client_id.is_some()) {
            writes.push(seen_write(hive, cell, id));
        }
        if let Err(error) = hive.commit_as(cell.spec.durability, writes).await {
            cell.mind.lock().agent.mailbox_mut().give_back(weight_bytes);
            forget(hive, id);
            return Err(error.into());
        }
    }
    crate::release::deliver(hive, cell.id, Box::new(message), weight_bytes);
    Ok(id)
}

/// Asks, and waits for the reply. The reply is the acknowledgement: what was asked of a durable agent is stored with it.
pub(crate) async fn ask(
    hive: &Arc<Hive>,
    to: &str,
    kind: &str,
    body: Bytes,
    options: AskOptions,
) -> Result<Bytes, Error> {
    let cell = hive.directory.find(to)?;
    let timeout = options.timeout;
    let deadline_ns = hive.clock.wall_ns().saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
    let class = Class::Ask { deadline_ns, blocking: false };
    let message = message(hive, &cell, kind, body, options.send, class)?;
    let id = message.id;
    let (sender, mut receiver) = oneshot::channel();
    hive.outside.waiting.lock().entry(id).or_default().push(sender);
    let is_new = match message.rare.as_ref().and_then(|rare| rare.client_id) {
        Some(_) => match note(hive, &cell, id) {
            Known::New => true,
            Known::UnderWay => false,
            Known::Ended(result) => {
                hive.outside.finish(hive, id, result.clone());
                return result.map_err(|cause| ask_error(&cell, cause));
            }
        },
        None => true,
    };
    if is_new {
        let weight_bytes = message.weight_bytes();
        if let Err(error) = reserve(&cell, &message, weight_bytes).await {
            hive.outside.waiting.lock().remove(&id);
            forget(hive, id);
            return Err(error);
        }
        enter(hive, &cell, message, weight_bytes);
    }
    let result = match receiver.try_recv() {
        Ok(result) => result,
        Err(_) => tokio::time::timeout(timeout, receiver).await.map_or(Err(AskFailure::Timeout), |ended| {
            ended.unwrap_or(Err(AskFailure::Down(skep_core::ExitReason::Shutdown)))
        }),
    };
    if result == Err(AskFailure::Timeout) {
        abandon(hive, id);
    }
    result.map_err(|cause| ask_error(&cell, cause))
}

/// Puts an ask into the mailbox. If its agent has nothing else to do, its turn runs here and now, on this thread.
fn enter(hive: &Arc<Hive>, cell: &Arc<Cell>, message: Message, weight_bytes: usize) {
    let delivered = {
        let mut mind = cell.mind.lock();
        let delivered = mind.agent.deliver(Box::new(message), weight_bytes);
        delivered.map(|_| mind.agent.wake())
    };
    match delivered {
        Ok(true) => hive.scheduler.run_here(Box::pin(crate::turn::run(hive.clone(), cell.clone())), false),
        Ok(false) => {}
        Err(message) => crate::dead::lost(hive, cell.id, *message, skep_core::DeadReason::Stopped),
    }
}

/// Nobody waits any more, unless somebody else does under the same id.
fn abandon(hive: &Hive, id: MessageId) {
    let mut waiting = hive.outside.waiting.lock();
    if let Some(waiters) = waiting.get_mut(&id) {
        waiters.retain(|waiter| !waiter.is_closed());
        if waiters.is_empty() {
            waiting.remove(&id);
        }
    }
}

fn ask_error(cell: &Cell, cause: AskFailure) -> Error {
    Error::Ask { agent: cell.name.to_string(), cause }
}

fn message(
    hive: &Hive,
    cell: &Cell,
    kind: &str,
    body: Bytes,
    options: SendOptions,
    class: Class,
) -> Result<Message, Error> {
    let fails = |cause: SendError| Error::Send { agent: cell.name.to_string(), cause };
    let kind = Name::new(kind).map_err(|bad| fails(SendError::Invalid(bad.to_string())))?;
    if body.len() > hive.spec.body_bytes_max as usize {
        return Err(fails(SendError::TooLarge(hive.spec.body_bytes_max)));
    }
    let client_id = options.client_id.map(|text| MessageId::of_text(&format!("client {}", cell.lineage.0), &text));
    let rare = Rare { content_type: options.content_type, headers: options.headers, client_id, ..Rare::default() };
    Ok(Message {
        id: client_id.unwrap_or_else(|| hive.outside.new_id()),
        sender: AgentId::OUTSIDE,
        channel: Rule::for_message(Asked { channel: options.channel, high_priority: false, kind: &kind }).channel(),
        kind,
        class,
        failed_turns: 0,
        hops: 0,
        accepted_ns: hive.clock.wall_ns(),
        row: None,
        body,
        rare: (rare != Rare::default()).then(|| Box::new(rare)),
    })
}

/// Reserves a place, and waits for one if there is none.
async fn reserve(cell: &Arc<Cell>, message: &Message, weight_bytes: usize) -> Result<(), Error> {
    let fails = |cause| Error::Send { agent: cell.name.to_string(), cause };
    let try_now = || {
        let mut mind = cell.mind.lock();
        if !mind.agent.gate().takes_messages() {
            return Err(fails(SendError::Absent));
        }
        Ok(mind.agent.mailbox_mut().reserve(message.channel, weight_bytes).is_ok())
    };
    if try_now()? {
        return Ok(());
    }
    let WhenFull::WaitThenReject { wait_ms_max } = Policy::of(message.channel).when_full else {
        return Err(fails(SendError::Full));
    };
    let wait = cell.room.wait(|| match try_now() {
        Ok(false) => None,
        Ok(true) => Some(Ok(())),
        Err(error) => Some(Err(error)),
    });
    let wait_max = Duration::from_millis(wait_ms_max.into());
    tokio::time::timeout(wait_max, wait).await.unwrap_or_else(|_| Err(fails(SendError::Full)))
}

/// Looks a client's id up, and notes it if it is new.
fn note(hive: &Arc<Hive>, cell: &Cell, id: MessageId) -> Known {
    let now_ns = hive.clock.wall_ns();
    let window_ns = hive.spec.client_window_ms.saturating_mul(1_000_000);
    let mut seen = hive.outside.seen.lock();
    let mut forgotten = seen.expire(now_ns.saturating_sub(window_ns));
    let known = match seen.entries.get(&id) {
        Some(entry) => entry.end.result(entry.body.clone()).map_or(Known::UnderWay, Known::Ended),
        None => {
            let entry = SeenEntry { owner: cell.id, time_ns: now_ns, end: SeenEnd::Taken, body: Bytes::new() };
            forgotten.append(&mut seen.insert(id, entry));
            Known::New
        }
    };
    drop(seen);
    let deletes = forgotten.into_iter().map(|(owner, id)| Write::Delete { space: Space::Seen, owner, key: id_key(id) });
    hive.commit_later(deletes.collect());
    known
}

/// The message was not taken after all.
fn forget(hive: &Hive, id: MessageId) {
    let mut seen = hive.outside.seen.lock();
    if let Some(entry) = seen.entries.remove(&id) {
        seen.bytes = seen.bytes.saturating_sub(entry.body.len());
    }
}

/// The write that remembers that a message was taken.
pub(crate) fn seen_write(hive: &Hive, cell: &Cell, id: MessageId) -> Write {
    let record = SeenRecord { time_ns: hive.clock.wall_ns(), end: SeenEnd::Taken };
    Write::Put { space: Space::Seen, owner: cell.id, key: id_key(id), value: encode(&record, b"") }
}
