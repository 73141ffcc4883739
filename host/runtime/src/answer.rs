//! The ends of asks: whoever asked gets exactly one, from the callee, from its failure, or from the host.

use std::sync::Arc;

use skep_core::ask::Owed;
use skep_core::event::What;
use skep_core::{AgentId, AskFailure, BoxedMessage, Bytes, Class, Lineage, Message, MessageId, Name, Origin, Seq};
use skep_store::Write;

use crate::cell::Cell;
use crate::events::Scene;
use crate::hive::Hive;
use crate::record::failure_word;

/// What the receiver of an ask owes, read off the message.
pub(crate) fn owed_by(message: &Message) -> Option<Owed> {
    let Class::Ask { deadline_ns, blocking } = message.class else { return None };
    Some(Owed {
        asker: message.sender,
        deadline_ns,
        channel: message.channel,
        blocking,
        client_id: message.rare.as_ref().and_then(|rare| rare.client_id),
    })
}

/// Whether who asked may ask again under the same id, and is to get the same end: a client with ids of its own, or an agent
/// without durability, which a client may have do the same once more.
pub(crate) fn may_come_again(hive: &Hive, ask: MessageId, owed: &Owed) -> bool {
    // One of another host that has a row there does not; the others are noted when they come.
    let forgets = || match hive.cell(owed.asker) {
        Some(cell) => !cell.is_durable(),
        None => hive.is_remote(owed.asker) && hive.outside.is_noted(ask),
    };
    owed.client_id.is_some() || (!owed.blocking && owed.asker != AgentId::OUTSIDE && forgets())
}

/// The message that ends an ask of an agent.
pub(crate) fn answer_message(
    hive: &Hive,
    from: AgentId,
    ask: MessageId,
    owed: &Owed,
    result: Result<Bytes, AskFailure>,
) -> Message {
    let (failure, body) = match result {
        Ok(body) => (None, body),
        Err(failure) => {
            let text = failure.to_string();
            (Some(Box::new(failure)), text.into())
        }
    };
    Message {
        id: MessageId::derive(ask, Lineage(0), 0),
        sender: from,
        kind: Name::reply(),
        channel: owed.channel,
        class: Class::Answer { ask, failure },
        failed_turns: 0,
        hops: 0,
        accepted_ns: hive.clock.wall_ns(),
        row: None,
        body,
        rare: None,
    }
}

/// Ends an ask, whoever asked.
pub(crate) fn end_ask(hive: &Arc<Hive>, from: AgentId, ask: MessageId, owed: &Owed, result: Result<Bytes, AskFailure>) {
    let scene = || hive.cell(from).map(|cell| cell.scene()).unwrap_or_default().because(Some(Origin::itself(ask)));
    if owed.blocking || owed.asker == AgentId::OUTSIDE {
        if let Err(failure) = &result {
            hive.emit(&scene(), What::AskFailed { why: failure_word(failure) });
        }
        if owed.blocking {
            hive.calls.finish(hive, from, ask, result);
        } else {
            hive.outside.finish(hive, ask, owed.client_id.is_some(), result);
        }
    } else {
        hive.outside.remember(hive, ask, &result);
        let answer = answer_message(hive, from, ask, owed, result);
        deliver_answer(hive, scene, owed.asker, ask, Box::new(answer));
    }
}

/// The end of an ask that is no turn's doing: its message died, or its receiver has ended for good.
pub(crate) struct End {
    ask: MessageId,
    owed: Owed,
    failure: AskFailure,
    /// On a row of its own, if it outlives the host.
    answer: Option<BoxedMessage>,
}

impl End {
    /// What it takes to keep the end goes into `writes`, with what consumes the ask. `tell` must follow when they are queued.
    pub(crate) fn of(
        hive: &Hive,
        cell: &Cell,
        (ask, owed): (MessageId, Owed),
        failure: AskFailure,
        writes: &mut Vec<Write>,
    ) -> Self {
        let outlives = cell.is_durable() && !owed.blocking && hive.cell(owed.asker).is_some_and(|by| by.is_durable());
        let committer = hive.committer.as_ref().filter(|_| outlives);
        let answer = committer.map(|committer| {
            let row = committer.next_row();
            let answer = answer_message(hive, cell.id, ask, &owed, Err(failure.clone()));
            let answer = Message { row: Some(row), ..answer };
            writes.push(Write::PutMessage { row, to: owed.asker, message: answer.clone() });
            Box::new(answer)
        });
        Self { ask, owed, failure, answer }
    }

    /// An agent takes it as any message; a client hears of it when it stands.
    pub(crate) fn tell(self, hive: &Arc<Hive>, cell: &Arc<Cell>) {
        let Self { ask, owed, failure, answer } = self;
        if let Some(answer) = answer {
            hive.outside.remember(hive, ask, &Err(failure));
            return deliver_answer(hive, || cell.scene(), owed.asker, ask, answer);
        }
        let (hive_then, from) = (hive.clone(), cell.id);
        let end = move || end_ask(&hive_then, from, ask, &owed, Err(failure));
        if cell.is_durable() && owed.asker == AgentId::OUTSIDE { hive.when_settled(end) } else { end() }
    }
}

/// Puts an answer into the mailbox of who asked, where its place is reserved; a late one is dropped and counted. An ask
/// that fails is told of here, in the scene where it failed: so it is told of once, by the answer that ends it.
pub(crate) fn deliver_answer(
    hive: &Arc<Hive>,
    scene: impl FnOnce() -> Scene,
    asker: AgentId,
    ask: MessageId,
    answer: BoxedMessage,
) {
    let row = answer.row;
    let failed = match &answer.class {
        Class::Answer { failure: Some(failure), .. } => Some(What::AskFailed { why: failure_word(failure) }),
        _ => None,
    };
    let Some(cell) = hive.cell(asker) else {
        return match hive.send_away(asker, answer, None) {
            Ok(()) => {
                if let Some(failed) = failed {
                    hive.emit(&scene(), failed);
                }
            }
            Err(_) => drop_late(hive, None, ask, row),
        };
    };
    let delivered = {
        let mut mind = cell.mind.lock();
        match mind.asks.end(ask) {
            Some(_) => mind.agent.deliver(answer, 0).is_ok().then(|| mind.agent.wake()),
            None => None,
        }
    };
    let Some(wakes) = delivered else { return drop_late(hive, Some(&cell), ask, row) };
    if let Some(failed) = failed {
        hive.emit(&scene(), failed);
    }
    if wakes {
        hive.scheduler.push(cell);
    }
}

fn drop_late(hive: &Arc<Hive>, cell: Option<&Arc<Cell>>, ask: MessageId, row: Option<Seq>) {
    let scene = cell.map(|cell| cell.scene()).unwrap_or_default().because(Some(Origin::itself(ask)));
    hive.emit(&scene, What::MessageDropped { reason: "late-reply" });
    hive.commit_later(row.map(|row| Write::TakeMessage { row }).into_iter().collect());
}

/// The host ends an ask of an agent by itself: its deadline, or the end of who was asked.
pub(crate) fn fail_ask(hive: &Arc<Hive>, asker: &Arc<Cell>, ask: MessageId, failure: AskFailure) {
    let open = asker.mind.lock().asks.get(ask);
    let Some(open) = open else { return };
    let owed = Owed {
        asker: asker.id,
        deadline_ns: open.deadline_ns,
        channel: open.channel,
        blocking: false,
        client_id: None,
    };
    let scene = || asker.scene().because(Some(Origin::itself(ask)));
    let answer = answer_message(hive, open.to, ask, &owed, Err(failure));
    deliver_answer(hive, scene, asker.id, ask, Box::new(answer));
}
