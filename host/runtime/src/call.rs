//! Calls: an agent waits inside its turn for the reply of another. The reply is recorded until the caller's turn is
//! committed, so that a turn that comes again gets the same one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use skep_core::{AgentId, AskFailure, Bytes, Class, Message, MessageId, SendError};
use skep_engine::{Room, TurnHost};
use tokio::sync::oneshot;

use crate::context::TurnContext;
use crate::hive::Hive;

/// Recorded replies: beyond it a call that comes again is handled again, which its callee may notice.
const RECORDED_MAX: usize = 100_000;

/// See the module.
#[derive(Default)]
pub(crate) struct Calls {
    waiting: Mutex<HashMap<MessageId, oneshot::Sender<Result<Bytes, AskFailure>>>>,
    recorded: Mutex<HashMap<MessageId, Result<Bytes, AskFailure>>>,
    /// Calls that their callee has and has not ended: one that comes again only waits again.
    under_way: Mutex<HashSet<MessageId>>,
}

impl Calls {
    /// A call has ended: whoever waits is told, and the reply is recorded.
    pub(crate) fn finish(&self, hive: &Arc<Hive>, call: MessageId, result: Result<Bytes, AskFailure>) {
        let waiter = self.waiting.lock().remove(&call);
        self.under_way.lock().remove(&call);
        if matches!(result, Ok(_) | Err(AskFailure::Refused(_))) {
            self.record(call, result.clone());
        }
        let told = waiter.is_some_and(|waiter| waiter.send(result).is_ok());
        if !told {
            let dropped = skep_core::event::What::MessageDropped { reason: "late-reply" };
            hive.emit(&Default::default(), dropped);
        }
    }

    pub(crate) fn record(&self, call: MessageId, result: Result<Bytes, AskFailure>) {
        let mut recorded = self.recorded.lock();
        if recorded.len() < RECORDED_MAX {
            recorded.insert(call, result);
        }
    }

    pub(crate) fn forget(&self, call: MessageId) {
        self.recorded.lock().remove(&call);
    }

    fn recorded(&self, call: MessageId) -> Option<Result<Bytes, AskFailure>> {
        self.recorded.lock().get(&call).cloned()
    }
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
        self.hive.calls.waiting.lock().remove(&self.call);
    }
}

/// Sends at once and waits for the reply.
pub(crate) async fn call(context: &mut TurnContext, to: AgentId, message: Message) -> Result<Bytes, AskFailure> {
    let (hive, cell) = (context.hive.clone(), context.cell.clone());
    let Class::Ask { deadline_ns, .. } = message.class else {
        return Err(AskFailure::NotSent(SendError::Invalid("a call is an ask".to_owned())));
    };
    // The id says which call it is; the body, that it is the same one.
    let id = crate::record::call_id(&message);
    let message = Message { id, ..message };
    context.calls.push((to, id));
    if let Some(recorded) = hive.calls.recorded(id) {
        return recorded;
    }
    committed_so_far(context).await;
    if let Err(cycle) = hive.waits.lock().try_wait(cell.id, to) {
        return Err(AskFailure::Cycle(names(&hive, &cycle.path)));
    }
    let wait = Wait { hive: &hive, caller: cell.id, call: id };
    let (sender, receiver) = oneshot::channel();
    hive.calls.waiting.lock().insert(id, sender);
    let (channel, weight_bytes) = (message.channel, message.weight_bytes());
    if !hive.calls.under_way.lock().contains(&id) {
        match context.reserve(to, channel, weight_bytes, false) {
            Room::Reserved => {}
            Room::Full => context.wait_for_room(to, channel, weight_bytes, false).await.map_err(AskFailure::NotSent)?,
            Room::Refused(error) => return Err(AskFailure::NotSent(error)),
        }
        hive.calls.under_way.lock().insert(id);
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

/// What the agent did before stands before anybody else may build on what it says now.
async fn committed_so_far(context: &TurnContext) {
    let cell = &context.cell;
    cell.changed.wait(|| (cell.mind.lock().agent.ahead() == 0).then_some(())).await;
}

fn names(hive: &Hive, path: &[AgentId]) -> String {
    let name = |id: &AgentId| hive.directory.name_of(*id).map_or_else(|| id.0.to_string(), |name| name.to_string());
    path.iter().map(name).collect::<Vec<_>>().join(" waits for ")
}
