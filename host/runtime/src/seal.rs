//! What a turn that ended well comes to: the writes of its commit, and what leaves after it. Never writes into the
//! store.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;
use skep_core::ask::Owed;
use skep_core::spec::Durability;
use skep_core::timer::Timer;
use skep_core::turn::{Effect, Sealed};
use skep_core::{AgentId, AskFailure, BoxedMessage, Bytes, Channel, Class, Message, MessageId, Name, Origin, Seq};
use skep_store::{Space, Sync, Write};

use crate::answer::{answer_message, may_come_again, owed_by};
use crate::cell::Cell;
use crate::commit::Committer;
use crate::hive::Hive;
use crate::record::{
    self, AskRecord, CallRecord, OwedRecord, SeenEnd, SeenRecord, TimerRecord, encode, id_key, name_key,
};
use crate::state::Known;
use crate::turn::Began;

/// See the module.
pub(crate) struct Plan {
    writes: Vec<Write>,
    sync: Sync,
    release: Release,
    /// Rows of what goes to other hosts, to be given anew when the commit is queued.
    away: Vec<Seq>,
}

/// What leaves after the commit, in order, and what is needed to take it back if the commit fails.
pub(crate) struct Release {
    pub(crate) began: Began,
    pub(crate) handled: Vec<BoxedMessage>,
    pub(crate) out: Vec<Out>,
    /// Replies that this turn began to owe.
    pub(crate) owes: Vec<MessageId>,
    pub(crate) duration_ns: u64,
}

/// One thing that leaves.
pub(crate) enum Out {
    /// A message whose place is reserved.
    Message { to: AgentId, message: BoxedMessage, promised_bytes: usize },
    /// The end of an ask.
    End { ask: MessageId, owed: Owed, result: Result<Bytes, AskFailure>, answer: Option<BoxedMessage> },
    /// A reply that nobody is owed.
    Unowed,
    /// A timer that was set.
    Timer { name: Name, timer: Timer },
    /// Anything else, as the turn asked for it.
    Effect(Effect),
}

impl Plan {
    /// Whether it must go through the store: it writes, or earlier turns of the agent are not committed yet, or one of
    /// them was undone, and this one with it.
    pub(crate) fn needs_commit(&self, cell: &Cell, began: Began) -> bool {
        if !self.writes.is_empty() {
            return true;
        }
        cell.is_durable()
            && (cell.mind.lock().agent.ahead() > 0 || cell.undoings.load(Ordering::Acquire) != began.undoings)
    }

    /// Gives rows to what goes to other hosts. They ascend in the order of the commits if the commit is queued before what
    /// this returns is dropped.
    pub(crate) fn give_rows<'h>(&mut self, hive: &'h Hive) -> Option<MutexGuard<'h, ()>> {
        if self.away.is_empty() {
            return None;
        }
        let (cluster, committer) = (hive.cluster.get()?, hive.committer.as_ref()?);
        let order = cluster.order();
        number(committer, &mut self.away, &mut self.writes, &mut self.release);
        Some(order)
    }

    /// As `into_commit`, of one that is committed with others: its rows that are for other hosts are to be numbered then.
    pub(crate) fn into_unnumbered(self) -> (Vec<Write>, Vec<Seq>, Release) {
        (self.writes, self.away, self.release)
    }

    pub(crate) fn into_release(self) -> Release {
        self.release
    }

    pub(crate) fn into_commit(self) -> (Vec<Write>, Sync, Release) {
        (self.writes, self.sync, self.release)
    }
}

/// Gives new rows for these, to what is written and to what leaves.
pub(crate) fn number(committer: &Committer, away: &mut Vec<Seq>, writes: &mut [Write], release: &mut Release) {
    let rows: HashMap<Seq, Seq> = away.drain(..).map(|old| (old, committer.next_row())).collect();
    for write in writes {
        if let Write::PutMessage { row, message, .. } = write
            && let Some(new) = rows.get(row)
        {
            (*row, message.row) = (*new, Some(*new));
        }
    }
    for out in &mut release.out {
        if let Out::Message { message, .. } | Out::End { answer: Some(message), .. } = out
            && let Some(new) = message.row.and_then(|row| rows.get(&row))
        {
            message.row = Some(*new);
        }
    }
}

/// Makes the plan of a turn, and says what comes again. The error is a state that cannot be read, with all of the turn.
pub(crate) fn seal(
    hive: &Arc<Hive>,
    cell: &Arc<Cell>,
    began: Began,
    mut sealed: Sealed,
    now_ns: u64,
) -> Result<(Plan, Vec<BoxedMessage>), (String, Box<Sealed>)> {
    let mut sealer = Sealer {
        hive,
        cell,
        durable: cell.is_durable() && hive.committer.is_some(),
        began,
        writes: Vec::new(),
        out: Vec::with_capacity(sealed.effects.len()),
        owes: Vec::new(),
        away: Vec::new(),
    };
    if let Err(unreadable) = sealer.state(std::mem::take(&mut sealed.writes)) {
        return Err((unreadable, Box::new(sealed)));
    }
    sealer.consume(&sealed);
    for effect in sealed.effects {
        sealer.effect(effect, &sealed.handled);
    }
    sealer.refusals(&sealed.handled, sealed.refused);
    sealer.owe(&sealed.handled);
    let sync = if cell.spec.durability == Durability::Full { Sync::Power } else { Sync::Process };
    let (writes, out, owes, away) = (sealer.writes, sealer.out, sealer.owes, sealer.away);
    let duration_ns = now_ns.saturating_sub(began.monotonic_ns);
    let release = Release { began, handled: sealed.handled, out, owes, duration_ns };
    Ok((Plan { writes, sync, release, away }, sealed.rest))
}

struct Sealer<'a> {
    hive: &'a Arc<Hive>,
    cell: &'a Arc<Cell>,
    durable: bool,
    began: Began,
    writes: Vec<Write>,
    out: Vec<Out>,
    owes: Vec<MessageId>,
    away: Vec<Seq>,
}

impl Sealer<'_> {
    fn put(&mut self, space: Space, owner: AgentId, key: Bytes, value: Bytes) {
        self.writes.push(Write::Put { space, owner, key, value });
    }

    fn delete(&mut self, space: Space, owner: AgentId, key: Bytes) {
        self.writes.push(Write::Delete { space, owner, key });
    }

    /// All that may fail comes first, so that a failure leaves nothing behind.
    fn state(&mut self, writes: std::collections::BTreeMap<Bytes, Option<Bytes>>) -> Result<(), String> {
        let old_bytes = writes.keys().map(|key| self.old_bytes(key)).collect::<Result<Vec<u64>, String>>()?;
        for ((key, value), old_bytes) in writes.into_iter().zip(old_bytes) {
            if self.durable {
                let (space, owner) = (Space::State, self.cell.id);
                self.writes.push(match value.clone() {
                    Some(value) => Write::Put { space, owner, key: key.clone(), value },
                    None => Write::Delete { space, owner, key: key.clone() },
                });
            }
            self.cell.mind.lock().state.write(self.began.turn, key, value, old_bytes);
        }
        Ok(())
    }

    /// What a key and its value take now: the budget of stored bytes counts exactly.
    fn old_bytes(&self, key: &Bytes) -> Result<u64, String> {
        let known = self.cell.mind.lock().state.get(key);
        let value = match (known, self.hive.store()) {
            (Known::Value(value), _) => value,
            (Known::Miss, None) => None,
            (Known::Miss, Some(store)) => store
                .get(Space::State, self.cell.id, std::slice::from_ref(key))
                .map_err(|error| error.to_string())?
                .pop()
                .flatten(),
        };
        Ok(value.map_or(0, |value| (key.len() + value.len()) as u64))
    }

    /// What the messages that were dealt with leave behind in the store.
    fn consume(&mut self, sealed: &Sealed) {
        for message in &sealed.handled {
            if let Some(row) = message.row {
                self.writes.push(Write::TakeMessage { row });
            }
            // What it has called is needed no more: it never comes again.
            if self.durable {
                self.writes.append(&mut self.hive.calls.deletes(self.hive, message.id));
            }
            if self.durable && crate::release::is_remembered(self.cell, message) {
                self.writes.push(crate::outside::seen_write(self.hive, self.cell, message.id));
            }
            match &message.class {
                Class::Answer { ask, .. } if self.durable => self.delete(Space::Ask, self.cell.id, id_key(*ask)),
                Class::Timer { .. } => self.consume_firing(message),
                // The monitor is used up, unless it was set anew.
                Class::Down if self.durable && !self.watches(message.sender) => {
                    self.hold_agent(record::handle::MONITOR, message.sender, false)
                }
                _ => {}
            }
        }
    }

    /// A timer that has fired is over, unless it fires again or was set anew.
    fn consume_firing(&mut self, message: &Message) {
        // What an earlier turn, whose commit is still to come, has made of the timer stands.
        if !self.durable || self.cell.mind.lock().timers_pending.contains_key(&message.kind) {
            return;
        }
        let write = crate::alarm::write_after_firing(self.hive, self.cell, &message.kind);
        self.writes.push(write);
    }

    /// When it is due is decided once: the ids of its firing come of it, here and after a crash.
    fn set_timer(&mut self, name: Name, after_ms: u32, every: bool, body: Bytes) {
        let period_ns = u64::from(after_ms) * 1_000_000;
        let due_ns = self.hive.clock.wall_ns() + period_ns;
        let every_ns = if every { NonZeroU64::new(period_ns) } else { None };
        if self.durable {
            self.put_timer(&name, due_ns, every_ns.map_or(0, u64::from), &body);
            self.timer_pends(&name);
        }
        self.out.push(Out::Timer { name, timer: Timer { due_ns, every_ns, body } });
    }

    fn put_timer(&mut self, name: &Name, due_ns: u64, every_ns: u64, body: &[u8]) {
        let value = encode(&TimerRecord { due_ns, every_ns }, body);
        self.put(Space::Timer, self.cell.id, name_key(name), value);
    }

    fn effect(&mut self, effect: Effect, handled: &[BoxedMessage]) {
        match effect {
            Effect::Send { to, message } => self.send(to, message),
            Effect::Reply { ask, result } => self.reply(ask, result, handled),
            Effect::SetTimer { name, after_ms, every, body } => self.set_timer(name, after_ms, every, body),
            effect => {
                if self.durable {
                    self.record(&effect);
                }
                self.out.push(Out::Effect(effect));
            }
        }
    }

    /// A message is as durable as the weaker of its two ends.
    fn send(&mut self, to: AgentId, mut message: BoxedMessage) {
        if let (true, Class::Ask { deadline_ns, blocking: false }) = (self.durable, &message.class) {
            let open = skep_core::ask::OpenAsk { to, deadline_ns: *deadline_ns, channel: message.channel };
            self.put(Space::Ask, self.cell.id, id_key(message.id), encode(&AskRecord::of(&open), b""));
        }
        let promised_bytes = message.weight_bytes();
        self.keep(to, &mut message);
        self.out.push(Out::Message { to, message, promised_bytes });
    }

    /// Telemetry is best effort and never stored.
    fn keep(&mut self, to: AgentId, message: &mut Message) {
        if message.channel == Channel::Telemetry {
            return;
        }
        let Some(committer) = self.hive.committer.as_ref().filter(|_| self.durable) else { return };
        let is_away = to != self.cell.id && self.hive.is_remote(to);
        let is_durable = to == self.cell.id || self.hive.cell(to).is_some_and(|cell| cell.is_durable());
        if is_durable || is_away {
            let row = committer.next_row();
            if is_away {
                self.away.push(row);
            }
            message.row = Some(row);
            self.writes.push(Write::PutMessage { row, to, message: message.clone() });
        }
    }

    fn reply(&mut self, ask: MessageId, result: Result<Bytes, AskFailure>, handled: &[BoxedMessage]) {
        let in_batch = handled.iter().find(|message| message.id == ask).and_then(|message| owed_by(message));
        let answered = self.out.iter().any(|out| matches!(out, Out::End { ask: before, .. } if *before == ask));
        let owed = match in_batch {
            Some(owed) => Some(owed).filter(|_| !answered),
            None => self.settle(ask),
        };
        match owed {
            Some(owed) => self.end(ask, owed, result),
            None => self.out.push(Out::Unowed),
        }
    }

    /// A reply that was owed from an earlier turn.
    fn settle(&mut self, ask: MessageId) -> Option<Owed> {
        let owed = self.cell.mind.lock().asks.settle(ask)?;
        if self.durable {
            self.delete(Space::Owed, self.cell.id, id_key(ask));
        }
        Some(owed)
    }

    fn end(&mut self, ask: MessageId, owed: Owed, result: Result<Bytes, AskFailure>) {
        self.remember_end(ask, &owed, &result);
        let to_agent = !owed.blocking && owed.asker != AgentId::OUTSIDE;
        let answer = to_agent.then(|| {
            let mut answer = answer_message(self.hive, self.cell.id, ask, &owed, result.clone());
            self.keep(owed.asker, &mut answer);
            Box::new(answer)
        });
        self.out.push(Out::End { ask, owed, result, answer });
    }

    /// Who comes back with the same id gets the same end.
    fn remember_end(&mut self, ask: MessageId, owed: &Owed, result: &Result<Bytes, AskFailure>) {
        if !self.durable {
            return;
        }
        let body = result.as_ref().map(Bytes::as_ref).unwrap_or_default();
        if owed.blocking {
            // One that nobody can come for any more leaves nothing behind.
            let Some(cause) = self.hive.calls.cause_of(ask) else { return };
            let record = CallRecord::of(cause, result);
            self.put(Space::Call, self.cell.id, id_key(ask), encode(&record, body));
        } else if may_come_again(self.hive, ask, owed) {
            let record = SeenRecord { time_ns: self.hive.clock.wall_ns(), end: SeenEnd::of(result) };
            self.put(Space::Seen, self.cell.id, id_key(ask), encode(&record, body));
        }
    }

    fn refusals(&mut self, handled: &[BoxedMessage], refused: Vec<(u32, skep_core::Refusal)>) {
        for (index, refusal) in refused {
            let Some(message) = handled.get(index as usize) else { continue };
            self.cell.stats.refused.fetch_add(1, Ordering::Relaxed);
            let scene = self.cell.scene_of(self.began).because(Some(Origin::of(message)));
            self.hive.emit(&scene, skep_core::event::What::MessageRefused { why: refusal.to_string() });
            if let Some(owed) = owed_by(message) {
                self.end(message.id, owed, Err(AskFailure::Refused(refusal)));
            }
        }
    }

    /// Asks that were handled and have no answer yet.
    fn owe(&mut self, handled: &[BoxedMessage]) {
        for message in handled {
            let Some(owed) = owed_by(message) else { continue };
            if self.out.iter().any(|out| matches!(out, Out::End { ask, .. } if *ask == message.id)) {
                continue;
            }
            self.forget_overdue();
            self.cell.mind.lock().asks.owe(message.id, owed);
            self.owes.push(message.id);
            let cause = if owed.blocking { self.hive.calls.cause_of(message.id) } else { None };
            // A call that nobody can come for any more leaves nothing behind.
            if self.durable && (cause.is_some() || !owed.blocking) {
                self.put(Space::Owed, self.cell.id, id_key(message.id), encode(&OwedRecord::of(&owed, cause), b""));
                if owed.client_id.is_some() {
                    let record = SeenRecord { time_ns: self.hive.clock.wall_ns(), end: SeenEnd::Taken };
                    self.put(Space::Seen, self.cell.id, id_key(message.id), encode(&record, b""));
                }
            }
        }
    }

    /// Who never replies owes no more than its handles: replies that nobody waits for make place.
    fn forget_overdue(&mut self) {
        let now_ns = self.hive.clock.wall_ns();
        let overdue = {
            let mut mind = self.cell.mind.lock();
            let full = mind.asks.owed_count() >= self.cell.spec.budget.handles_max as usize;
            if full { mind.asks.settle_overdue(now_ns) } else { Vec::new() }
        };
        if self.durable {
            for ask in overdue {
                self.delete(Space::Owed, self.cell.id, id_key(ask));
            }
        }
    }

    /// What an agent holds beside its state survives with it.
    fn record(&mut self, effect: &Effect) {
        let owner = self.cell.id;
        match effect {
            Effect::CancelTimer { name } => {
                self.delete(Space::Timer, owner, name_key(name));
                self.timer_pends(name);
            }
            Effect::Subscribe { pattern, on } => self.hold(record::handle::SUBSCRIPTION, pattern, *on),
            Effect::Group { group, join } => self.hold(record::handle::GROUP, group.as_str(), *join),
            Effect::Link { agent, on } => self.hold_agent(record::handle::LINK, *agent, *on),
            Effect::Monitor { agent, on } => self.hold_agent(record::handle::MONITOR, *agent, *on),
            Effect::Register(profile) => {
                let value = encode(&record::ProfileRecord::of(profile), b"");
                self.put(Space::Handle, owner, Bytes::from_static(record::handle::PROFILE.as_bytes()), value);
            }
            Effect::Spawn(request) => self.writes.extend(crate::spawn::record(self.hive, request)),
            Effect::Send { .. }
            | Effect::Reply { .. }
            | Effect::SetTimer { .. }
            | Effect::Stop { .. }
            | Effect::Exit(_) => {}
        }
    }

    fn timer_pends(&self, name: &Name) {
        self.cell.mind.lock().timers_pending.insert(name.clone(), self.began.turn);
    }

    fn watches(&self, agent: AgentId) -> bool {
        self.hive.links.lock().watched(self.cell.id).contains(&agent)
    }

    fn hold_agent(&mut self, prefix: &str, agent: AgentId, on: bool) {
        if let Some(name) = self.hive.directory.name_of(agent) {
            self.hold(prefix, name.as_str(), on);
        }
    }

    fn hold(&mut self, prefix: &str, rest: &str, on: bool) {
        let key = Bytes::from(format!("{prefix}{rest}"));
        if on {
            self.put(Space::Handle, self.cell.id, key, Bytes::from_static(b"{}\n"));
        } else {
            self.delete(Space::Handle, self.cell.id, key);
        }
    }
}
