//! Dead letters: messages that nobody will handle, kept with their reason until an operator retries or drops them.

use std::sync::Arc;

use parking_lot::Mutex;
use skep_core::dead::{DeadLetter, DeadLetters, DeadRoom};
use skep_core::event::What;
use skep_core::{AgentId, AskFailure, Bytes, Channel, Class, DeadReason, Message, MessageId, Name, Origin, Rare, Seq};
use skep_store::{Space, Write};

use crate::answer::{End, end_ask, may_come_again, owed_by};
use crate::cell::Cell;
use crate::events::Scene;
use crate::hive::Hive;
use crate::record::{DeadRecord, decode, encode, id_key};

/// What is kept: the oldest make place, and are counted.
const ROOM: DeadRoom = DeadRoom { count_max: 100_000, bytes_max: 256 << 20 };
/// Records of dead letters belong to nobody.
const OWNER: AgentId = AgentId::OUTSIDE;

/// See the module.
pub(crate) struct Dead {
    pub(crate) letters: Mutex<DeadLetters>,
}

impl Dead {
    pub(crate) fn new() -> Self {
        Self { letters: Mutex::new(DeadLetters::new(ROOM)) }
    }
}

/// Makes a dead letter of a message of an agent, in one commit that also consumes it and answers its asker.
pub(crate) fn bury(hive: &Arc<Hive>, cell: &Arc<Cell>, message: Message, reason: DeadReason, to_asker: AskFailure) {
    bury_of(hive, cell, cell.scene(), message, reason, to_asker);
}

/// The same, where it happens: in the turn that was its last.
pub(crate) fn bury_of(
    hive: &Arc<Hive>,
    cell: &Arc<Cell>,
    scene: Scene,
    message: Message,
    reason: DeadReason,
    to_asker: AskFailure,
) {
    let mut writes: Vec<Write> = message.row.map(|row| Write::TakeMessage { row }).into_iter().collect();
    writes.append(&mut hive.calls.deletes(hive, message.id));
    hive.calls.forget(message.id);
    let owed = owed_by(&message);
    if cell.is_durable() && owed.is_some_and(|owed| may_come_again(hive, message.id, &owed)) {
        let record = crate::record::SeenRecord { time_ns: hive.clock.wall_ns(), end: crate::record::SeenEnd::Dead };
        let (space, owner) = (Space::Seen, cell.id);
        writes.push(Write::Put { space, owner, key: id_key(message.id), value: encode(&record, b"") });
    }
    if let (Class::Answer { ask, .. }, true) = (&message.class, cell.is_durable()) {
        writes.push(Write::Delete { space: Space::Ask, owner: cell.id, key: id_key(*ask) });
    }
    let timer = matches!(message.class, Class::Timer { .. }).then(|| message.kind.clone());
    if let Some(name) = timer.as_ref().filter(|_| cell.is_durable()) {
        writes.push(crate::alarm::write_after_firing(hive, cell, name));
    }
    if let (Class::Down, true) = (&message.class, cell.is_durable()) {
        writes.extend(crate::links::forget_monitor(hive, cell.id, message.sender));
    }
    let scene = scene.because(Some(Origin::of(&message)));
    let ask = message.id;
    let end = owed.map(|owed| End::of(hive, cell, (ask, owed), to_asker, &mut writes));
    keep(hive, cell.name.clone(), message, reason.clone(), cell.is_durable(), writes);
    // Whoever hears of it finds it.
    hive.emit(&scene, What::DeadLetter { message: ask, reason });
    if let Some(end) = end {
        end.tell(hive, cell);
    }
    // A firing that came meanwhile is another message.
    if let Some(name) = timer {
        hive.alarms.fired_and_handled(hive, cell, &name);
    }
}

/// A message on its way found its receiver gone.
pub(crate) fn lost(hive: &Arc<Hive>, to: AgentId, message: Message, reason: DeadReason) {
    let failure = match reason {
        DeadReason::Full => AskFailure::NotSent(skep_core::SendError::Full),
        _ => AskFailure::Down(skep_core::ExitReason::NoAgent),
    };
    match hive.cell(to) {
        Some(cell) => bury(hive, &cell, message, reason, failure),
        None => {
            let (ask, owed) = (message.id, owed_by(&message));
            let scene = Scene::default().because(Some(Origin::of(&message)));
            let writes: Vec<Write> = message.row.map(|row| Write::TakeMessage { row }).into_iter().collect();
            keep(hive, hive.directory.told_name(to), message, reason.clone(), true, writes);
            hive.emit(&scene, What::DeadLetter { message: ask, reason });
            if let Some(owed) = owed {
                end_ask(hive, to, ask, &owed, Err(failure));
            }
        }
    }
}

fn keep(hive: &Arc<Hive>, to: Name, mut message: Message, reason: DeadReason, durable: bool, mut writes: Vec<Write>) {
    message.row = None;
    let from = hive.directory.name_of(message.sender);
    let letter = DeadLetter { message, to, from, reason, time_ns: hive.clock.wall_ns() };
    if durable {
        let (space, key) = (Space::DeadLetter, id_key(letter.message.id));
        writes.push(Write::Put { space, owner: OWNER, key, value: record_of(&letter) });
    }
    let displaced = hive.dead.letters.lock().push(letter);
    for old in displaced {
        hive.emit(&Default::default(), What::MessageDropped { reason: "dead-letters-full" });
        writes.push(Write::Delete { space: Space::DeadLetter, owner: OWNER, key: id_key(old.message.id) });
    }
    hive.commit_later(writes);
}

/// The writes that forget a dead letter.
pub(crate) fn forget(id: MessageId) -> Write {
    Write::Delete { space: Space::DeadLetter, owner: OWNER, key: id_key(id) }
}

fn record_of(letter: &DeadLetter) -> Bytes {
    let message = &letter.message;
    let rare = message.rare.as_deref().cloned().unwrap_or_default();
    let detail = match &letter.reason {
        DeadReason::Failed(detail) => detail.clone(),
        _ => String::new(),
    };
    let record = DeadRecord {
        to: letter.to.to_string(),
        from: letter.from.as_ref().map(ToString::to_string),
        sender: message.sender.0,
        kind: message.kind.to_string(),
        channel: message.channel as u8,
        attempts: message.failed_turns,
        accepted_ns: message.accepted_ns,
        reason: letter.reason.word().to_owned(),
        detail,
        time_ns: letter.time_ns,
        headers: rare.headers,
        content_type: rare.content_type,
    };
    encode(&record, &message.body)
}

/// Brings the dead letters back from the store; one that cannot be read is an error for an operator.
pub(crate) fn load(hive: &Arc<Hive>) -> Result<(), skep_store::Error> {
    let Some(store) = hive.store() else { return Ok(()) };
    let mut letters = Vec::new();
    crate::boot::each_record(&store, Space::DeadLetter, OWNER, |entry| {
        let (record, body) = decode::<DeadRecord>("dead letter", &entry.value).map_err(|error| error.to_string())?;
        let id = crate::record::key_id(&entry.key).ok_or("its key is no id")?;
        letters.push(letter_of(id, record, body));
        Ok(())
    })?;
    letters.sort_by_key(|letter| letter.time_ns);
    let mut dead = hive.dead.letters.lock();
    for letter in letters {
        dead.push(letter);
    }
    Ok(())
}

fn letter_of(id: MessageId, record: DeadRecord, body: Bytes) -> DeadLetter {
    let name = |text: &str| Name::new(text).unwrap_or_else(|_| Name::reply());
    let reason = match record.reason.as_str() {
        "stopped" => DeadReason::Stopped,
        "absent" => DeadReason::Absent,
        "full" => DeadReason::Full,
        _ => DeadReason::Failed(record.detail),
    };
    let rare = Rare { headers: record.headers, content_type: record.content_type, ..Rare::default() };
    let message = Message {
        id,
        sender: AgentId(record.sender),
        kind: name(&record.kind),
        channel: Channel::from_number(record.channel).unwrap_or(Channel::Events),
        class: Class::Tell,
        failed_turns: record.attempts,
        hops: 0,
        accepted_ns: record.accepted_ns,
        row: None::<Seq>,
        body,
        rare: (rare != Rare::default()).then(|| Box::new(rare)),
    };
    DeadLetter {
        message,
        to: name(&record.to),
        from: record.from.as_deref().map(name),
        reason,
        time_ns: record.time_ns,
    }
}
