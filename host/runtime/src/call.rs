//! Calls: an agent waits inside its turn for the reply of another. What a message has called is kept until its turn is
//! committed or it is a dead letter, so that a turn that comes again gets the same replies.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use skep_core::{AgentId, AskFailure, Bytes, Class, IdMap, Message, MessageId, SendError};
use skep_engine::{Room, TurnHost};
use skep_store::{Space, Write};
use tokio::sync::oneshot;

use crate::context::TurnContext;
use crate::hive::Hive;
use crate::record::id_key;

/// Calls of one message, in all its turns.
const CALLS_PER_MESSAGE_MAX: usize = 10_000;
/// Bytes of recorded replies: beyond it a call that comes again is handled again, which its callee may notice.
const RECORDED_BYTES_MAX: usize = 256 << 20;
/// Messages whose calls are kept for their window only; beyond it the oldest are forgotten before.
const AGING_MAX: usize = 100_000;

type Reply = Result<Bytes, AskFailure>;

/// See the module.
#[derive(Default)]
pub(crate) struct Calls {
    book: Mutex<Book>,
    /// Messages with calls: most have none, and look no further.
    causes: AtomicUsize,
}

#[derive(Default)]
struct Book {
    calls: IdMap<MessageId, Call>,
    /// What each message has called.
    by_cause: IdMap<MessageId, Vec<MessageId>>,
    /// Messages that the store does not know: they come again only if their client sends them again.
    aging: VecDeque<(u64, MessageId)>,
    recorded_bytes: usize,
}

struct Call {
    cause: MessageId,
    callee: AgentId,
    waiter: Option<oneshot::Sender<Reply>>,
    /// The callee has it and has not ended it: one that comes again only waits again.
    under_way: bool,
    reply: Option<Reply>,
}

/// What is known of a call.
enum Known {
    New,
    UnderWay,
    Recorded(Reply),
}

impl Calls {
    /// Notes a call; the receiver gets its reply.
    fn open(
        &self,
        cause: MessageId,
        callee: AgentId,
        call: MessageId,
    ) -> Result<(Known, oneshot::Receiver<Reply>), SendError> {
        let (waiter, receiver) = oneshot::channel();
        let mut book = self.book.lock();
        if let Some(known) = book.calls.get_mut(&call) {
            known.waiter = Some(waiter);
            let how = match (&known.reply, known.under_way) {
                (Some(reply), _) => Known::Recorded(reply.clone()),
                (None, true) => Known::UnderWay,
                (None, false) => Known::New,
            };
            return Ok((how, receiver));
        }
        let of_cause = book.by_cause.entry(cause).or_default();
        if of_cause.len() >= CALLS_PER_MESSAGE_MAX {
            return Err(SendError::Limit(format!("a message makes at most {CALLS_PER_MESSAGE_MAX} calls")));
        }
        of_cause.push(call);
        book.calls.insert(call, Call { cause, callee, waiter: Some(waiter), under_way: false, reply: None });
        self.note_causes(&book);
        Ok((Known::New, receiver))
    }

    fn note_causes(&self, book: &Book) {
        self.causes.store(book.by_cause.len(), Ordering::Release);
    }

    /// Calls that are known of.
    pub(crate) fn count(&self) -> usize {
        self.book.lock().calls.len()
    }

    fn set_under_way(&self, call: MessageId) {
        if let Some(call) = self.book.lock().calls.get_mut(&call) {
            call.under_way = true;
        }
    }

    /// A call has ended: whoever waits is told, and the reply is recorded while its caller may come again.
    pub(crate) fn finish(&self, hive: &Arc<Hive>, callee: AgentId, call: MessageId, result: Reply) {
        let waiter = self.book.lock().end(call, &result);
        let told = match waiter {
            Some(Some(waiter)) => waiter.send(result).is_ok(),
            Some(None) => false,
            None => {
                // Nobody will come for it, nor for its row.
                hive.commit_later(vec![delete(callee, call)]);
                false
            }
        };
        if !told {
            let dropped = skep_core::event::What::MessageDropped { reason: "late-reply" };
            hive.emit(&Default::default(), dropped);
        }
    }

    /// The message that a call belongs to, as long as it may come again.
    pub(crate) fn cause_of(&self, call: MessageId) -> Option<MessageId> {
        self.book.lock().calls.get(&call).map(|call| call.cause)
    }

    /// A call that the store knows: with its reply, or one that its callee still owes.
    pub(crate) fn load(&self, cause: MessageId, callee: AgentId, call: MessageId, reply: Option<Reply>) {
        let mut book = self.book.lock();
        book.by_cause.entry(cause).or_default().push(call);
        book.recorded_bytes += reply.as_ref().map_or(0, body_bytes);
        book.calls.insert(call, Call { cause, callee, waiter: None, under_way: reply.is_none(), reply });
        self.note_causes(&book);
    }

    /// Whether a message has made calls that are kept.
    pub(crate) fn has(&self, cause: MessageId) -> bool {
        self.book.lock().by_cause.contains_key(&cause)
    }

    /// Messages with calls that were loaded.
    pub(crate) fn causes(&self) -> Vec<MessageId> {
        self.book.lock().by_cause.keys().copied().collect()
    }

    /// The rows of what a message has called: they go with the commit that consumes it.
    pub(crate) fn deletes(&self, hive: &Hive, cause: MessageId) -> Vec<Write> {
        if self.causes.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let book = self.book.lock();
        let calls = book.by_cause.get(&cause).into_iter().flatten();
        let found = calls.filter_map(|id| book.calls.get(id).map(|call| (call.callee, *id)));
        found.filter(|(callee, _)| is_durable(hive, *callee)).map(|(callee, id)| delete(callee, id)).collect()
    }

    /// The message never comes again.
    pub(crate) fn forget(&self, cause: MessageId) {
        if self.causes.load(Ordering::Acquire) > 0 {
            let mut book = self.book.lock();
            book.forget(cause);
            self.note_causes(&book);
        }
    }

    /// The message is done with, but the store does not know that: after a crash of the host its client may send it
    /// again, within the window of clients. Forgets those whose window has ended.
    pub(crate) fn age(&self, hive: &Hive, cause: MessageId) {
        if self.causes.load(Ordering::Acquire) == 0 {
            return;
        }
        let now_ns = hive.clock.monotonic_ns();
        let window_ns = hive.spec.client_window_ms.saturating_mul(1_000_000);
        let mut over = Vec::new();
        {
            let mut book = self.book.lock();
            if book.by_cause.contains_key(&cause) {
                book.aging.push_back((now_ns, cause));
            }
            let ends = |(time_ns, _): &(u64, MessageId)| time_ns.saturating_add(window_ns) <= now_ns;
            while book.aging.len() > AGING_MAX || book.aging.front().is_some_and(ends) {
                over.extend(book.aging.pop_front().map(|(_, cause)| cause));
            }
        }
        for cause in over {
            let deletes = self.deletes(hive, cause);
            self.forget(cause);
            hive.commit_later(deletes);
        }
    }

    /// A turn without messages is over, which never comes again.
    pub(crate) fn close(&self, hive: &Hive, cause: MessageId) {
        let deletes = self.deletes(hive, cause);
        self.forget(cause);
        hive.commit_later(deletes);
    }
}

impl Book {
    /// Whoever waited; none if nobody can ever come for the call.
    fn end(&mut self, call: MessageId, result: &Reply) -> Option<Option<oneshot::Sender<Reply>>> {
        let room_bytes = RECORDED_BYTES_MAX.saturating_sub(self.recorded_bytes);
        let call = self.calls.get_mut(&call)?;
        call.under_way = false;
        if matches!(result, Ok(_) | Err(AskFailure::Refused(_))) && body_bytes(result) <= room_bytes {
            self.recorded_bytes += body_bytes(result);
            call.reply = Some(result.clone());
        }
        Some(call.waiter.take())
    }

    fn forget(&mut self, cause: MessageId) {
        for call in self.by_cause.remove(&cause).into_iter().flatten() {
            let reply = self.calls.remove(&call).and_then(|call| call.reply);
            self.recorded_bytes = self.recorded_bytes.saturating_sub(reply.as_ref().map_or(0, body_bytes));
        }
    }
}

fn body_bytes(reply: &Reply) -> usize {
    reply.as_ref().map_or(0, Bytes::len)
}

fn is_durable(hive: &Hive, callee: AgentId) -> bool {
    hive.cell(callee).is_some_and(|cell| cell.is_durable())
}

fn delete(callee: AgentId, call: MessageId) -> Write {
    Write::Delete { space: Space::Call, owner: callee, key: id_key(call) }
}

/// Ends the wait in the graph and the place of the waiter, however the call ends: also if its turn is given up.
struct Wait<'a> {
    hive: &'a Arc<Hive>,
    caller: AgentId,
    call: MessageId,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.hive.waits.lock().done(self.caller);
        if let Some(call) = self.hive.calls.book.lock().calls.get_mut(&self.call) {
            call.waiter = None;
        }
    }
}

/// Sends at once and waits for the reply.
pub(crate) async fn call(context: &mut TurnContext, cause: MessageId, to: AgentId, message: Message) -> Reply {
    let (hive, cell) = (context.hive.clone(), context.cell.clone());
    let Class::Ask { deadline_ns, .. } = message.class else {
        return Err(AskFailure::NotSent(SendError::Invalid("a call is an ask".to_owned())));
    };
    // The id says which call it is; the body, that it is the same one.
    let id = crate::record::call_id(&message);
    let message = Message { id, ..message };
    let (known, receiver) = hive.calls.open(cause, to, id).map_err(AskFailure::NotSent)?;
    if let Known::Recorded(reply) = known {
        return reply;
    }
    if !committed_so_far(context).await {
        // The turn is void: it comes again, and calls then.
        return Err(AskFailure::Down(skep_core::ExitReason::Shutdown));
    }
    if let Err(cycle) = hive.waits.lock().try_wait(cell.id, to) {
        return Err(AskFailure::Cycle(names(&hive, &cycle.path)));
    }
    let wait = Wait { hive: &hive, caller: cell.id, call: id };
    let (channel, weight_bytes) = (message.channel, message.weight_bytes());
    // One that went to another host may be lost on the way: there, the same one again is answered as it was.
    if matches!(known, Known::New) || hive.is_remote(to) {
        match context.reserve(to, channel, weight_bytes, false) {
            Room::Reserved => {}
            Room::Full => context.wait_for_room(to, channel, weight_bytes, false).await.map_err(AskFailure::NotSent)?,
            Room::Refused(error) => return Err(AskFailure::NotSent(error)),
        }
        hive.calls.set_under_way(id);
        crate::release::deliver(&hive, to, Box::new(message), weight_bytes);
    }
    let left = Duration::from_nanos(deadline_ns.saturating_sub(hive.clock.wall_ns()));
    let result = tokio::time::timeout(left, receiver).await;
    drop(wait);
    match result {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(AskFailure::Down(skep_core::ExitReason::Shutdown)),
        Err(_) => Err(AskFailure::Timeout),
    }
}

/// What the agent did before stands before anybody else may build on what it says now. False if it was undone.
async fn committed_so_far(context: &TurnContext) -> bool {
    let cell = &context.cell;
    cell.changed.wait(|| (cell.mind.lock().agent.ahead() == 0).then_some(())).await;
    cell.undoings.load(Ordering::Acquire) == context.began.undoings
}

fn names(hive: &Hive, path: &[AgentId]) -> String {
    let name = |id: &AgentId| hive.directory.name_of(*id).map_or_else(|| id.0.to_string(), |name| name.to_string());
    path.iter().map(name).collect::<Vec<_>>().join(" waits for ")
}
