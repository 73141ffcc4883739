//! Lets out what a turn asked for, in order, once its commit stands; or takes it back, if the commit failed. Never
//! decides what leaves.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skep_bus::Bus;
use skep_core::ask::OpenAsk;
use skep_core::event::{Severity, What};
use skep_core::turn::Effect;
use skep_core::{AgentId, AskFailure, BoxedMessage, Bytes, Class, DeadReason, Message, Origin, TurnId};

use crate::answer::{deliver_answer, end_ask, owed_by};
use crate::cell::Cell;
use crate::commit::CommitFailed;
use crate::hive::Hive;
use crate::seal::{Out, Release};
use crate::turn::Began;

/// Lets everything out. An exit comes last: what was asked for before it still leaves.
pub(crate) fn release(hive: &Arc<Hive>, cell: &Arc<Cell>, release: Release) {
    cell.stats.handled.fetch_add(release.handled.len() as u64, Ordering::Relaxed);
    consumed(hive, cell, &release.handled);
    settle_timers(cell, release.began.turn);
    let effects = release.out.len() as u32;
    let mut exit = None;
    let mut outs = release.out.into_iter().peekable();
    while let Some(out) = outs.next() {
        match out {
            Out::Message { to, message, promised_bytes } => {
                asked(hive, cell, to, &message);
                deliver_row(hive, to, message, promised_bytes, &mut outs);
            }
            Out::End { ask, owed, result, answer } => match answer {
                Some(answer) => {
                    hive.outside.remember(hive, ask, &result);
                    deliver_answer(hive, || cell.scene_of(release.began), owed.asker, ask, answer);
                }
                None => end_ask(hive, cell.id, ask, &owed, result),
            },
            Out::Timer { name, timer } => hive.alarms.set_timer(cell.id, name, timer),
            Out::Unowed => hive.emit(&cell.scene_of(release.began), What::MessageDropped { reason: "late-reply" }),
            Out::Effect(Effect::Exit(reason)) => exit = Some(reason),
            Out::Effect(effect) => perform(hive, cell, release.began, effect),
        }
    }
    if hive.events.wanted(Severity::Debug) {
        let mut scene = cell.scene_of(release.began);
        scene.duration_ns = Some(release.duration_ns);
        hive.emit(&scene, What::TurnCommitted { handled: release.handled.len() as u32, effects });
    }
    if let Some(reason) = exit {
        crate::lifecycle::exit(hive, cell, reason);
    }
}

/// What this turn has made of timers stands from here on.
fn settle_timers(cell: &Cell, turn: TurnId) {
    let mut mind = cell.mind.lock();
    if !mind.timers_pending.is_empty() {
        mind.timers_pending.retain(|_, of| *of > turn);
    }
}

/// What the messages that were dealt with were to the host.
fn consumed(hive: &Arc<Hive>, cell: &Arc<Cell>, handled: &[BoxedMessage]) {
    for message in handled {
        if let Class::Timer { .. } = message.class {
            hive.alarms.fired_and_handled(hive, cell, &message.kind);
        }
        if cell.is_durable() {
            hive.calls.forget(message.id);
        } else {
            hive.calls.age(hive, message.id);
        }
    }
}

/// If the message is an ask, its end is waited for from now on.
fn asked(hive: &Arc<Hive>, cell: &Arc<Cell>, to: AgentId, message: &Message) {
    if let Class::Ask { deadline_ns, blocking: false } = message.class {
        let open = OpenAsk { to, deadline_ns, channel: message.channel };
        let look_ns = cell.mind.lock().asks.opened(message.id, open);
        if let Some(look_ns) = look_ns {
            hive.alarms.look_at_asks(cell.id, look_ns);
        }
    }
}

/// Puts a message into its receiver's mailbox, where its place is reserved.
pub(crate) fn deliver(hive: &Arc<Hive>, to: AgentId, message: BoxedMessage, promised_bytes: usize) {
    deliver_row(hive, to, message, promised_bytes, &mut Vec::new().into_iter().peekable());
}

/// The same, and with it as many of what follows as are plain messages to the same receiver: its mailbox is locked once.
fn deliver_row(hive: &Arc<Hive>, to: AgentId, first: BoxedMessage, promised_bytes: usize, outs: &mut Outs) {
    let Some(receiver) = hive.cell(to) else {
        return match hive.send_away(to, first, Some(promised_bytes)) {
            Ok(()) => {}
            Err(first) => crate::dead::lost(hive, to, *first, DeadReason::Absent),
        };
    };
    if is_remembered(&receiver, &first)
        && let Some(end) = hive.outside.known(hive, &receiver, first.id)
    {
        receiver.mind.lock().agent.mailbox_mut().give_back(promised_bytes);
        return repeated(hive, &receiver, &first, end);
    }
    let (mut dropped, mut refused) = (0, Vec::new());
    let wakes = {
        let mut mind = receiver.mind.lock();
        let mut next = Some((first, promised_bytes));
        while let Some((message, promised_bytes)) = next {
            match mind.agent.deliver(message, promised_bytes) {
                Ok(displaced) => dropped += displaced,
                Err(message) => refused.push(message),
            }
            next = next_of_row(&receiver, outs);
        }
        mind.agent.wake()
    };
    for _ in 0..dropped {
        hive.emit_of(&receiver, What::MessageDropped { reason: "telemetry-overflow" });
    }
    if wakes {
        hive.scheduler.push(receiver);
    }
    for message in refused {
        crate::dead::lost(hive, to, *message, DeadReason::Stopped);
    }
}

/// A message that has come before: it is not handled again, but an ask ends as it did then, or will.
fn repeated(hive: &Arc<Hive>, receiver: &Cell, message: &Message, end: Option<Result<Bytes, AskFailure>>) {
    let scene = receiver.scene().because(Some(Origin::of(message)));
    hive.emit(&scene, What::MessageDropped { reason: "duplicate" });
    let Some(owed) = owed_by(message) else { return };
    match end {
        Some(result) => end_ask(hive, receiver.id, message.id, &owed, result),
        None => receiver.mind.lock().asks.owe_to(message.id, owed),
    }
}

type Outs = std::iter::Peekable<std::vec::IntoIter<Out>>;

fn next_of_row(receiver: &Cell, outs: &mut Outs) -> Option<(BoxedMessage, usize)> {
    let next = outs.next_if(|out| match out {
        Out::Message { to, message, .. } => {
            *to == receiver.id && !message.wants_reply() && !is_remembered(receiver, message)
        }
        _ => false,
    });
    match next {
        Some(Out::Message { message, promised_bytes, .. }) => Some((message, promised_bytes)),
        _ => None,
    }
}

/// A durable receiver remembers what an agent without durability sent it: nothing else tells whether it came before.
pub(crate) fn is_remembered(receiver: &Cell, message: &Message) -> bool {
    let told = matches!(message.class, Class::Tell | Class::Published { .. } | Class::Ask { blocking: false, .. });
    told && receiver.is_durable() && message.row.is_none() && message.sender != AgentId::OUTSIDE
}

fn perform(hive: &Arc<Hive>, cell: &Arc<Cell>, began: Began, effect: Effect) {
    match effect {
        Effect::CancelTimer { name } => hive.alarms.cancel_timer(cell.id, &name),
        Effect::Subscribe { pattern, on: true } => drop(hive.bus.subscribe(&pattern, cell.id)),
        Effect::Subscribe { pattern, on: false } => drop(hive.bus.unsubscribe(&pattern, cell.id)),
        Effect::Register(profile) => {
            cell.mind.lock().profile = (*profile).clone();
            hive.directory.registry.write().set_profile(cell.id, *profile);
            hive.emit(&cell.scene_of(began), What::AgentRegistered);
        }
        Effect::Group { group, join: true } => drop(hive.directory.registry.write().join(cell.id, &group)),
        Effect::Group { group, join: false } => drop(hive.directory.registry.write().leave(cell.id, &group)),
        Effect::Spawn(request) => crate::spawn::perform(hive, cell, *request),
        Effect::Stop { agent, reason } => crate::lifecycle::stop_child(hive, agent, reason),
        Effect::Link { agent, on } => crate::links::link(hive, cell, agent, on),
        Effect::Monitor { agent, on } => crate::links::monitor(hive, cell, agent, on),
        Effect::Exit(_) | Effect::Send { .. } | Effect::Reply { .. } | Effect::SetTimer { .. } => {}
    }
}

/// The commit failed: nothing of the turn leaves, and its messages come again after those of earlier turns.
pub(crate) fn take_back(hive: &Arc<Hive>, cell: &Arc<Cell>, began: Began, release: Release, failed: &CommitFailed) {
    hive.emit(&cell.scene_of(began), What::CommitFailed { detail: failed.to_string() });
    {
        let mut mind = cell.mind.lock();
        mind.agent.undo();
        mind.state.undo();
        mind.timers_pending.clear();
        for ask in &release.owes {
            mind.asks.settle(*ask);
        }
    }
    // The memory of the instance is ahead of what is committed.
    drop(cell.instance.lock().take());
    retract(hive, cell, release.out, &release.handled);
    crate::turn::come_again(hive, cell, began, release.handled, false);
    if failed.is_fatal() {
        hive.fail(&failed.to_string());
    }
}

/// A turn without messages was not committed.
pub(crate) fn retract_alone(hive: &Arc<Hive>, cell: &Arc<Cell>, release: Release) {
    cell.mind.lock().timers_pending.retain(|_, of| *of != release.began.turn);
    hive.mark_undone(cell, release.began);
    retract(hive, cell, release.out, &[]);
}

/// What was sealed does not leave: rooms are free again, and what is owed is owed still.
fn retract(hive: &Arc<Hive>, cell: &Arc<Cell>, outs: Vec<Out>, handled: &[BoxedMessage]) {
    let mut effects = Vec::new();
    for out in outs {
        match out {
            Out::Message { to, mut message, .. } => {
                message.row = None;
                effects.push(Effect::Send { to, message });
            }
            Out::End { ask, owed, .. } if !handled.iter().any(|message| message.id == ask) => {
                cell.mind.lock().asks.owe(ask, owed);
            }
            Out::Effect(effect) => effects.push(effect),
            Out::End { .. } | Out::Timer { .. } | Out::Unowed => {}
        }
    }
    crate::turn::give_back(hive, cell, effects);
}
