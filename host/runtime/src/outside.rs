//! Messages from outside: of the embedding program, an operator or a client. What is remembered of a client's own message
//! ids is in `seen`.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use skep_bus::policy::{Policy, WhenFull};
use skep_bus::route::{Asked, Rule};
use skep_core::name::BadName;
use skep_core::spec::Durability;
use skep_core::{
    AgentId, AskFailure, BoxedMessage, Bytes, Channel, Class, DeadReason, IdMap, Lineage, Message, MessageId, Name,
    Origin, Rare, SendError,
};
use skep_store::{Space, Sync, Write};
use tokio::sync::oneshot;

use crate::bell::Bell;
use crate::cell::Cell;
use crate::commit::{CommitFailed, Job};
use crate::error::Error;
use crate::hive::Hive;
use crate::record::{SeenEnd, SeenRecord, encode, id_key};
use crate::seen::{Known, Reply, Seen};
use crate::targets::{full, reserve_at, wait_at};

/// How long who sends the same message again waits for the first one.
const STORED_WAIT_MAX: Duration = Duration::from_secs(5);

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
    waiting: Mutex<IdMap<MessageId, Waiters>>,
    seen: Mutex<Seen>,
    nonce: u64,
    next: AtomicU64,
    /// Rung when a message was stored, or was not taken after all.
    changed: Bell,
}

/// Who waits for the end of an ask: more than one only where a client has asked again.
struct Waiters {
    first: oneshot::Sender<Reply>,
    more: Vec<oneshot::Sender<Reply>>,
}

impl Outside {
    pub(crate) fn new(nonce: u64) -> Self {
        Self {
            waiting: Mutex::default(),
            seen: Mutex::default(),
            nonce,
            next: AtomicU64::new(0),
            changed: Bell::default(),
        }
    }

    fn new_id(&self) -> MessageId {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        MessageId::derive(MessageId(u128::from(count)), Lineage(self.nonce), 0)
    }

    /// An ask from outside has ended: whoever waits for it is told, and it is remembered if its client may ask again.
    pub(crate) fn finish(&self, hive: &Hive, ask: MessageId, is_remembered: bool, result: Reply) {
        if is_remembered {
            self.remember(hive, ask, &result);
        }
        let Some(Waiters { first, more }) = self.waiting.lock().remove(&ask) else { return };
        // One that waits no longer has had its time-out.
        for waiter in more {
            let _ = waiter.send(result.clone());
        }
        let _ = first.send(result);
    }

    /// The end of an ask, when it comes.
    fn expect(&self, ask: MessageId) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        match self.waiting.lock().entry(ask) {
            Entry::Vacant(place) => drop(place.insert(Waiters { first: sender, more: Vec::new() })),
            Entry::Occupied(mut others) => others.get_mut().more.push(sender),
        }
        receiver
    }

    /// What is known of a message of an agent without durability to a durable one: its id is that of its cause, so what a
    /// client sends again comes to the same. None: it is new, and noted. Else its end, if it has ended.
    pub(crate) fn known(&self, hive: &Arc<Hive>, to: &Cell, id: MessageId) -> Option<Option<Reply>> {
        match note(hive, to, id) {
            Known::New => None,
            Known::UnderWay => Some(None),
            Known::Ended(result) => Some(Some(result)),
        }
    }

    /// An ask that may come again has ended.
    pub(crate) fn remember(&self, hive: &Hive, ask: MessageId, result: &Reply) {
        let forgotten = self.seen.lock().end(ask, result, hive.clock.wall_ns());
        hive.commit_later(forgotten);
    }

    /// A message is as durable as its receiver by now.
    fn stored(&self, id: MessageId) {
        self.seen.lock().stored(id);
        self.changed.ring();
    }

    /// What the store remembers of a client's message.
    pub(crate) fn load(&self, id: MessageId, owner: AgentId, record: SeenRecord, body: Bytes) {
        self.seen.lock().load(id, owner, record, body);
    }

    /// Whether the message is one that may come again and is remembered.
    pub(crate) fn is_noted(&self, id: MessageId) -> bool {
        self.seen.lock().is_stored(id).is_some()
    }

    pub(crate) fn seen_count(&self) -> usize {
        self.seen.lock().len()
    }
}

/// A message on its way into its mailbox. Whoever sends it may be dropped while it waits for room: then it was not taken.
struct Entering<'a> {
    hive: &'a Hive,
    id: Option<MessageId>,
}

impl<'a> Entering<'a> {
    fn new(hive: &'a Hive, id: MessageId) -> Self {
        Self { hive, id: Some(id) }
    }

    fn entered(mut self) {
        self.id = None;
    }

    fn refused(mut self, error: Error) -> Error {
        let cause = if let Error::Send { cause, .. } = &error { cause } else { &SendError::Full };
        if let Some(id) = self.id.take() {
            forget(self.hive, id, cause);
        }
        error
    }
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            forget(self.hive, id, &SendError::Full);
        }
    }
}

/// The end of an ask, as one who waits for it sees it. Whoever waits may be dropped: then nobody is told.
struct Waiting<'a> {
    hive: &'a Hive,
    id: MessageId,
    receiver: oneshot::Receiver<Reply>,
    ended: bool,
}

impl<'a> Waiting<'a> {
    fn new(hive: &'a Hive, id: MessageId) -> Self {
        Self { hive, id, receiver: hive.outside.expect(id), ended: false }
    }

    async fn end(mut self, timeout: Duration) -> Reply {
        let ended = match self.receiver.try_recv() {
            Ok(result) => Ok(Ok(result)),
            Err(_) => tokio::time::timeout(timeout, &mut self.receiver).await,
        };
        self.ended = ended.is_ok();
        let gone = AskFailure::Down(skep_core::ExitReason::Shutdown);
        ended.map_or(Err(AskFailure::Timeout), |result| result.unwrap_or(Err(gone)))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.receiver.close();
            abandon(self.hive, self.id);
        }
    }
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
    send_message(hive, &cell, message, Vec::new()).await
}

/// As `send`, of a dead letter, which is forgotten by the commit that takes the message in.
pub(crate) async fn send_again(hive: &Arc<Hive>, to: &str, dead: Message) -> Result<MessageId, Error> {
    let cell = hive.directory.find(to)?;
    let before = dead.rare.map(|rare| *rare).unwrap_or_default();
    let rare = Rare { retry_of: Some(dead.id), client_id: None, ..before };
    let options = SendOptions { channel: Some(dead.channel), ..SendOptions::default() };
    let mut message = message(hive, &cell, dead.kind.as_str(), dead.body, options, Class::Tell)?;
    message.rare = Some(Box::new(rare));
    send_message(hive, &cell, message, vec![crate::dead::forget(dead.id)]).await
}

/// Sends; `writes` are committed with it.
async fn send_message(
    hive: &Arc<Hive>,
    cell: &Arc<Cell>,
    mut message: Message,
    mut writes: Vec<Write>,
) -> Result<MessageId, Error> {
    let id = message.id;
    if message.rare.as_ref().is_some_and(|rare| rare.client_id.is_some()) {
        match note(hive, cell, id) {
            Known::New => {}
            Known::UnderWay => return until_stored(hive, cell, id).await,
            Known::Ended(_) => return Ok(id),
        }
    }
    let weight_bytes = message.weight_bytes();
    let entering = Entering::new(hive, id);
    if let Err(error) = reserve(hive, cell, &message, weight_bytes).await {
        return Err(entering.refused(error));
    }
    // From here on nothing waits before the message is taken.
    entering.entered();
    let Some(committer) = hive.committer.as_ref().filter(|_| is_stored(cell, &message)) else {
        crate::release::deliver(hive, cell.id, Box::new(message), weight_bytes);
        hive.outside.stored(id);
        hive.commit_later(writes);
        return Ok(id);
    };
    let row = committer.next_row();
    message.row = Some(row);
    writes.push(Write::PutMessage { row, to: cell.id, message: message.clone() });
    if message.rare.as_ref().is_some_and(|rare| rare.client_id.is_some()) {
        writes.push(seen_write(hive, cell, id));
    }
    // Delivered by the commit itself: whoever waits for it may be dropped meanwhile.
    let (sender, receiver) = oneshot::channel();
    let (hive_then, cell_then) = (hive.clone(), cell.clone());
    let done = Box::new(move |result: Result<(), CommitFailed>| {
        match &result {
            Ok(()) => {
                crate::release::deliver(&hive_then, cell_then.id, Box::new(message), weight_bytes);
                hive_then.outside.stored(id);
            }
            Err(_) => {
                cell_then.mind.lock().agent.mailbox_mut().give_back(weight_bytes);
                cell_then.room.ring();
                forget(&hive_then, id, &SendError::Full);
            }
        }
        let _ = sender.send(result);
    });
    let sync = if cell.spec.durability == Durability::Full { Sync::Power } else { Sync::Process };
    committer.submit(Job { writes, sync, void: None, done }, hive.scheduler.is_quiet());
    match receiver.await {
        Ok(Ok(())) => Ok(id),
        Ok(Err(CommitFailed::Stopped)) => Err(Error::Stopping),
        Ok(Err(failed)) => Err(failed.into_error().into()),
        Err(_) => Err(Error::Stopping),
    }
}

/// Telemetry is best effort and never stored.
fn is_stored(cell: &Cell, message: &Message) -> bool {
    cell.is_durable() && message.channel != Channel::Telemetry
}

/// The same message is on its way by another hand: it is acknowledged no earlier than there.
async fn until_stored(hive: &Arc<Hive>, cell: &Cell, id: MessageId) -> Result<MessageId, Error> {
    let look = || match hive.outside.seen.lock().is_stored(id) {
        Some(false) => None,
        stored => Some(stored.is_some()),
    };
    let stored = tokio::time::timeout(STORED_WAIT_MAX, hive.outside.changed.wait(look)).await;
    let fails = || Error::Send { agent: cell.name.to_string(), cause: SendError::Full };
    if stored.unwrap_or(false) { Ok(id) } else { Err(fails()) }
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
    let mut waiting = Waiting::new(hive, id);
    if message.rare.as_ref().is_some_and(|rare| rare.client_id.is_some()) {
        match note(hive, &cell, id) {
            // One that was not taken may have ended between the two: this one is not told its end.
            Known::New => waiting = Waiting::new(hive, id),
            Known::UnderWay => return waiting.end(timeout).await.map_err(|cause| ask_error(hive, &cell, id, cause)),
            Known::Ended(result) => {
                hive.outside.finish(hive, id, true, result.clone());
                return result.map_err(|cause| ask_error(hive, &cell, id, cause));
            }
        }
    }
    let entering = Entering::new(hive, id);
    match enter(hive, &cell, message).await {
        Ok(()) => entering.entered(),
        Err(error) => return Err(entering.refused(error)),
    }
    waiting.end(timeout).await.map_err(|cause| ask_error(hive, &cell, id, cause))
}

/// Puts an ask into the mailbox, waiting for room if there is none. If its agent has nothing else to do, its turn runs
/// here and now, on this thread.
async fn enter(hive: &Arc<Hive>, cell: &Arc<Cell>, message: Message) -> Result<(), Error> {
    let weight_bytes = message.weight_bytes();
    let message = match enter_now(cell, Box::new(message), weight_bytes) {
        Ok(wakes) => {
            if wakes {
                hive.scheduler.run_here(|| crate::turn::run(hive, cell));
            }
            return Ok(());
        }
        Err(message) => message,
    };
    reserve(hive, cell, &message, weight_bytes).await?;
    crate::release::deliver(hive, cell.id, message, weight_bytes);
    Ok(())
}

/// In one step, if there is room: says whether the agent is to run.
fn enter_now(cell: &Cell, message: BoxedMessage, weight_bytes: usize) -> Result<bool, BoxedMessage> {
    let mut mind = cell.mind.lock();
    let takes = mind.agent.gate().takes_messages();
    if !takes || mind.agent.mailbox_mut().reserve(message.channel, weight_bytes).is_err() {
        return Err(message);
    }
    mind.agent.deliver(message, weight_bytes)?;
    Ok(mind.agent.wake())
}

/// Nobody waits any more, unless somebody else does under the same id.
fn abandon(hive: &Hive, id: MessageId) {
    let mut waiting = hive.outside.waiting.lock();
    let Some(Waiters { first, mut more }) = waiting.remove(&id) else { return };
    more.push(first);
    let mut still = more.into_iter().filter(|waiter| !waiter.is_closed());
    if let Some(first) = still.next() {
        waiting.insert(id, Waiters { first, more: still.collect() });
    }
}

fn ask_error(hive: &Hive, cell: &Cell, id: MessageId, cause: AskFailure) -> Error {
    let agent = cell.name.to_string();
    if cause != AskFailure::DeadLetter {
        return Error::Ask { agent, cause };
    }
    // It has the id of the ask.
    let failure = hive.dead.letters.lock().get(id).map(|letter| match &letter.reason {
        DeadReason::Failed(detail) => detail.clone(),
        reason => reason.word().to_owned(),
    });
    Error::DeadLetter { agent, id, failure }
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
    let kind = kind_of(kind).map_err(|bad| fails(SendError::Invalid(bad.to_string())))?;
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

/// The name of a kind. Whoever asks asks the same again and again: the last one of this thread is kept.
fn kind_of(text: &str) -> Result<Name, BadName> {
    thread_local! {
        static LAST: RefCell<Option<Name>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| match last {
        Some(kind) if kind.as_str() == text => Ok(kind.clone()),
        _ => Ok(last.insert(Name::new(text)?).clone()),
    })
}

/// Reserves a place, and waits for one if there is none.
async fn reserve(hive: &Hive, cell: &Arc<Cell>, message: &Message, weight_bytes: usize) -> Result<(), Error> {
    let reserved = match (reserve_at(cell, message.channel, weight_bytes), Policy::of(message.channel).when_full) {
        (Ok(true), _) => return Ok(()),
        (Ok(false), WhenFull::WaitThenReject { wait_ms_max }) => {
            wait_at(cell, message.channel, weight_bytes, Duration::from_millis(wait_ms_max.into())).await
        }
        (Ok(false), _) => Err(SendError::Full),
        (Err(error), _) => Err(error),
    };
    if reserved == Err(SendError::Full) {
        full(hive, cell, Some(Origin::of(message)), weight_bytes);
    }
    reserved.map_err(|cause| Error::Send { agent: cell.name.to_string(), cause })
}

/// Looks a client's id up, and notes it if it is new.
fn note(hive: &Arc<Hive>, cell: &Cell, id: MessageId) -> Known {
    let now_ns = hive.clock.wall_ns();
    let window_ns = hive.spec.client_window_ms.saturating_mul(1_000_000);
    let (known, forgotten) = hive.outside.seen.lock().note(id, cell.id, now_ns, window_ns);
    hive.commit_later(forgotten);
    known
}

/// The message was not taken after all: its id is free again, and whoever has joined it is told.
fn forget(hive: &Hive, id: MessageId, cause: &SendError) {
    let joined = {
        // In one step: who comes next finds both or neither.
        let mut seen = hive.outside.seen.lock();
        seen.remove(id);
        hive.outside.waiting.lock().remove(&id)
    };
    hive.outside.changed.ring();
    let Some(Waiters { first, more }) = joined else { return };
    for waiter in more.into_iter().chain([first]) {
        let _ = waiter.send(Err(AskFailure::NotSent(cause.clone())));
    }
}

/// The write that remembers that a message was taken.
pub(crate) fn seen_write(hive: &Hive, cell: &Cell, id: MessageId) -> Write {
    let record = SeenRecord { time_ns: hive.clock.wall_ns(), end: SeenEnd::Taken };
    Write::Put { space: Space::Seen, owner: cell.id, key: id_key(id), value: encode(&record, b"") }
}
