//! Brings a hive back from its store: agents, what they hold, what they owe, and the messages that nobody has consumed.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::Arc;

use skep_bus::Bus;
use skep_core::event::What;
use skep_core::grant::Granted;
use skep_core::spec::{AgentSpec, ChildSpec, SupervisorSpec};
use skep_core::timer::Timer;
use skep_core::{AgentId, AskFailure, Class, DeadReason, Digest, ExitReason, MessageId, Name, Seq};
use skep_store::{Entry, Error as StoreError, Space, Store, Write};

use crate::cell::Cell;
use crate::error::Error;
use crate::hive::Hive;
use crate::record::{
    AskRecord, CallRecord, OwedRecord, ProfileRecord, SeenRecord, TimerRecord, decode, handle, key_id,
};
use crate::spawn::{Origin, new_lineage, plant};
use crate::spec_record::Kept;

/// Records are read in pages of this size.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Messages are read in pages of this many.
const MESSAGES_AT_ONCE_MAX: usize = 4_096;

/// Looks at every record of an owner in a space. A record that `look` cannot use is a corrupt one.
pub(crate) fn each_record(
    store: &Arc<dyn Store>,
    space: Space,
    owner: AgentId,
    mut look: impl FnMut(Entry) -> Result<(), String>,
) -> Result<(), StoreError> {
    let mut after: Option<skep_core::Bytes> = None;
    loop {
        let page = store.scan(space, owner, b"", after.as_deref(), PAGE_BYTES_MAX)?;
        after = page.entries.last().map(|entry| entry.key.clone());
        for entry in page.entries {
            let place = format!("{space:?} of agent {}", owner.0);
            look(entry).map_err(|detail| StoreError::Corrupt { place, detail })?;
        }
        if !page.more || after.is_none() {
            return Ok(());
        }
    }
}

/// Counts the stored bytes of an agent's state, once after the host has started: budgets are held to it.
pub(crate) fn count_state(hive: &Hive, cell: &Cell) -> Result<(), String> {
    let Some(store) = hive.store().filter(|_| cell.is_durable()) else { return Ok(()) };
    let mut bytes = 0;
    each_record(&store, Space::State, cell.id, |entry| {
        bytes += (entry.key.len() + entry.value.len()) as u64;
        Ok(())
    })
    .map_err(|error| error.to_string())?;
    cell.mind.lock().state.bytes = bytes;
    Ok(())
}

/// What the store knows of agents, by name.
pub(crate) fn kept_agents(hive: &Hive) -> Result<HashMap<Name, Kept>, StoreError> {
    let mut kept = HashMap::new();
    let Some(store) = hive.store() else { return Ok(kept) };
    each_record(&store, Space::Hive, AgentId::OUTSIDE, |entry| {
        let taken = crate::record::last_of_block(&entry.key).or_else(|| crate::cluster::number_of(&entry.key));
        taken.into_iter().for_each(|last| hive.directory.taken_up_to(last));
        Ok(())
    })?;
    for owner in store.owners(Space::Agent)? {
        hive.directory.taken_up_to(owner);
        each_record(&store, Space::Agent, owner, |entry| {
            let found = Kept::read(owner, &entry.value).map_err(|error| error.to_string())?;
            let name = Name::new(&found.record.name).map_err(|bad| bad.to_string())?;
            kept.insert(name, found);
            Ok(())
        })?;
    }
    Ok(kept)
}

/// Makes the entries of all agents: the declared ones, and those that were added while the hive ran. Returns the
/// children that the tree does not know yet.
pub(crate) fn plant_all(hive: &Arc<Hive>) -> Result<Vec<Arc<Cell>>, Error> {
    let mut kept = kept_agents(hive)?;
    plant_declared(hive, &hive.spec.root, &mut kept)?;
    let mut added: Vec<Kept> = Vec::new();
    for (name, found) in kept {
        // One that the manifest has no more is at rest until it is declared again, spawned or purged; and so is one
        // whose plugin is not there.
        let has_plugin = hive.plugins.read().keys().any(|plugin| plugin.as_str() == found.record.plugin);
        if !found.record.ended && !found.record.declared && has_plugin {
            added.push(found);
            continue;
        }
        if !found.record.ended {
            hive.emit(&Default::default(), What::AgentLeftOut { agent: name.clone() });
        }
        hive.directory.rest(name, found.rested());
    }
    parents_first(added).iter().map(|found| plant_added(hive, found)).collect()
}

/// In the order in which they were made, but a parent before its child. One that was made before its parent is one that
/// was at rest when its parent came to spawn it.
fn parents_first(mut added: Vec<Kept>) -> Vec<Kept> {
    added.sort_by_key(|found| found.id);
    let names: Vec<String> = added.iter().map(|found| found.record.name.clone()).collect();
    let mut waiting: HashMap<String, Kept> = names.iter().cloned().zip(added).collect();
    let mut ordered = Vec::with_capacity(names.len());
    for name in names {
        // From it upwards. Each is taken out once, so that two which have spawned each other are no circle.
        let (mut line, mut next) = (Vec::new(), Some(name));
        while let Some(found) = next.and_then(|name| waiting.remove(&name)) {
            next = found.record.parent.clone();
            line.push(found);
        }
        ordered.extend(line.into_iter().rev());
    }
    ordered
}

fn plant_declared(hive: &Arc<Hive>, supervisor: &SupervisorSpec, kept: &mut HashMap<Name, Kept>) -> Result<(), Error> {
    for child in &supervisor.children {
        match child {
            ChildSpec::Supervisor(below) => plant_declared(hive, below, kept)?,
            ChildSpec::Agent(spec) => {
                if let Some(why) = crate::session::unsuited(hive, spec) {
                    return Err(Error::Spec(vec![why]));
                }
                let before = kept.remove(&spec.name);
                plant_one(hive, (**spec).clone(), supervisor.name.clone(), before.as_ref(), true)?;
            }
        }
    }
    Ok(())
}

fn plant_added(hive: &Arc<Hive>, found: &Kept) -> Result<Arc<Cell>, Error> {
    let spec = found.spec().map_err(|why| Error::Spec(vec![format!("agent {}: {why}", found.record.name)]))?;
    let supervisor = Name::new(&found.record.supervisor).unwrap_or_else(|_| hive.spec.root.name.clone());
    plant_one(hive, spec, supervisor, Some(found), false)
}

fn plant_one(
    hive: &Arc<Hive>,
    spec: AgentSpec,
    supervisor: Name,
    before: Option<&Kept>,
    declared: bool,
) -> Result<Arc<Cell>, Error> {
    let refused = |why: String| Error::Spec(vec![why]);
    let name = spec.name.clone();
    let granted =
        Granted::new(name.clone(), spec.plugin.clone(), &spec.grants).map_err(|bad| refused(bad.to_string()))?;
    let id = before.map_or_else(|| hive.directory.next_id(), |kept| kept.id);
    let lineage = before.map_or_else(|| new_lineage(hive, &name, id, spec.durability), Kept::lineage);
    let parent = before.and_then(|kept| kept.parent(hive));
    let cell = plant(hive, spec, granted, Origin { id, lineage, supervisor, parent, declared })
        .map_err(|error| refused(format!("agent {name}: {error}")))?;
    if let Some(kept) = before {
        let mut mind = cell.mind.lock();
        mind.started = kept.record.started;
        mind.ran = Digest::parse(&kept.record.digest);
        mind.alone = kept.record.alone;
        // What the store says of it is not so any more.
        mind.unrecorded = kept.record.ended || kept.record.declared != declared;
    }
    run_alone(hive, &cell)?;
    Ok(cell)
}

/// An agent that was swapped alone runs the version that it was swapped to.
fn run_alone(hive: &Hive, cell: &Cell) -> Result<(), Error> {
    let ran = {
        let mind = cell.mind.lock();
        mind.ran.filter(|_| mind.alone)
    };
    if let (Some(digest), Some(dir)) = (ran, &hive.data_dir) {
        let plugin = hive.engine.load(&crate::plugins::copy_path(dir, digest), Some(digest))?;
        let component = crate::plugins::compile(&hive.engine, &plugin)?;
        let of_plugin = std::mem::replace(&mut *cell.component.lock(), component).digest();
        if of_plugin != digest {
            let (agent, runs, plugin) = (cell.name.clone(), digest, of_plugin);
            hive.emit(&Default::default(), What::AgentRunsAlone { agent, runs, plugin });
        }
    }
    Ok(())
}

/// Brings back what every durable agent holds, owes and waits for, and then the messages.
pub(crate) fn load_all(hive: &Arc<Hive>) -> Result<(), Error> {
    for cell in hive.directory.all() {
        subscribe_declared(hive, &cell)?;
    }
    let Some(store) = hive.store() else { return Ok(()) };
    crate::dead::load(hive)?;
    for cell in hive.directory.all().iter().filter(|cell| cell.is_durable()) {
        load_asks(hive, &store, cell)?;
        load_timers(hive, &store, cell)?;
        load_handles(hive, &store, cell)?;
        load_seen(hive, &store, cell)?;
        load_calls(hive, &store, cell)?;
    }
    let waiting = load_messages(hive, &store)?;
    for cause in hive.calls.causes() {
        if !waiting.contains(&cause) {
            hive.calls.age(hive, cause);
        }
    }
    end_lost_asks(hive);
    for cell in hive.directory.all().iter().filter(|cell| cell.is_durable()) {
        let look_ns = cell.mind.lock().asks.look_ns();
        if let Some(look_ns) = look_ns {
            hive.alarms.look_at_asks(cell.id, look_ns);
        }
    }
    Ok(())
}

/// Asks of agents that have lost them: of no durability, they have begun anew, or are not there any more.
fn end_lost_asks(hive: &Arc<Hive>) {
    let now_ns = hive.clock.wall_ns();
    let is_lost = |to| !hive.directory.remotes.has(to) && hive.cell(to).is_none_or(|callee| !callee.is_durable());
    for cell in hive.directory.all().iter().filter(|cell| cell.is_durable()) {
        let open: Vec<_> = cell.mind.lock().asks.open().collect();
        for (ask, _) in open.into_iter().filter(|(_, open)| open.deadline_ns > now_ns && is_lost(open.to)) {
            crate::answer::fail_ask(hive, cell, ask, AskFailure::Down(ExitReason::Killed));
        }
    }
}

/// Brings back what an agent holds that was at rest and is started again.
pub(crate) fn hold_again(hive: &Arc<Hive>, cell: &Arc<Cell>) -> Result<(), Error> {
    subscribe_declared(hive, cell)?;
    if let Some(store) = hive.store().filter(|_| cell.is_durable()) {
        load_timers(hive, &store, cell)?;
        load_handles(hive, &store, cell)?;
    }
    Ok(())
}

pub(crate) fn subscribe_declared(hive: &Arc<Hive>, cell: &Arc<Cell>) -> Result<(), Error> {
    for pattern in &cell.spec.subscribe {
        hive.bus.subscribe(pattern, cell.id).map_err(|bad| Error::Spec(vec![format!("agent {}: {bad}", cell.name)]))?;
    }
    Ok(())
}

fn load_asks(hive: &Hive, store: &Arc<dyn Store>, cell: &Arc<Cell>) -> Result<(), StoreError> {
    each_record(store, Space::Ask, cell.id, |entry| {
        let (record, _) = decode::<AskRecord>("ask", &entry.value).map_err(|error| error.to_string())?;
        let ask = key_id(&entry.key).ok_or("its key is no id")?;
        let mut mind = cell.mind.lock();
        mind.asks.opened(ask, record.open());
        mind.agent.mailbox_mut().reserve_answer();
        Ok(())
    })?;
    each_record(store, Space::Owed, cell.id, |entry| {
        let (record, _) = decode::<OwedRecord>("owed reply", &entry.value).map_err(|error| error.to_string())?;
        let ask = key_id(&entry.key).ok_or("its key is no id")?;
        cell.mind.lock().asks.owe(ask, record.owed());
        if let Some(cause) = record.cause() {
            hive.calls.load(cause, cell.id, ask, None);
        }
        Ok(())
    })
}

fn load_timers(hive: &Arc<Hive>, store: &Arc<dyn Store>, cell: &Arc<Cell>) -> Result<(), StoreError> {
    each_record(store, Space::Timer, cell.id, |entry| {
        let (record, body) = decode::<TimerRecord>("timer", &entry.value).map_err(|error| error.to_string())?;
        let name = name_of_key(&entry.key)?;
        let timer = Timer { due_ns: record.due_ns, every_ns: NonZeroU64::new(record.every_ns), body };
        hive.alarms.set_timer(cell.id, name, timer);
        Ok(())
    })
}

fn name_of_key(key: &[u8]) -> Result<Name, String> {
    let text = std::str::from_utf8(key).map_err(|error| error.to_string())?;
    Name::new(text).map_err(|bad| bad.to_string())
}

fn load_handles(hive: &Arc<Hive>, store: &Arc<dyn Store>, cell: &Arc<Cell>) -> Result<(), StoreError> {
    each_record(store, Space::Handle, cell.id, |entry| {
        let key = std::str::from_utf8(&entry.key).map_err(|error| error.to_string())?;
        if let Some(pattern) = key.strip_prefix(handle::SUBSCRIPTION) {
            hive.bus.subscribe(pattern, cell.id).map_err(|bad| bad.to_string())?;
        } else if let Some(group) = key.strip_prefix(handle::GROUP) {
            let group = Name::new(group).map_err(|bad| bad.to_string())?;
            hive.directory.registry.write().join(cell.id, &group);
        } else if let Some(other) = key.strip_prefix(handle::LINK) {
            match agent_of(hive, other)? {
                Ok(other) => crate::links::link(hive, cell, other, true),
                // The two have ended together, with the host.
                Err(_) => {
                    hive.commit_later(vec![Write::Delete { space: Space::Handle, owner: cell.id, key: entry.key }]);
                }
            }
        } else if let Some(other) = key.strip_prefix(handle::MONITOR) {
            // One that has not come back with the host is told of once: its name stands for it.
            let other = agent_of(hive, other)?.unwrap_or_else(|name| hive.directory.absent(name));
            crate::links::monitor(hive, cell, other, true);
        } else {
            let (record, _) = decode::<ProfileRecord>("profile", &entry.value).map_err(|error| error.to_string())?;
            let profile = record.profile();
            cell.mind.lock().profile = profile.clone();
            hive.directory.registry.write().set_profile(cell.id, profile);
        }
        Ok(())
    })
}

/// The agent of a name, or the name of one that is not there any more.
fn agent_of(hive: &Hive, name: &str) -> Result<Result<AgentId, Name>, String> {
    let name = Name::new(name).map_err(|bad| bad.to_string())?;
    let here = hive.directory.resolve(&name);
    Ok(here.or_else(|| hive.directory.remotes.named(&name)).ok_or(name))
}

fn load_seen(hive: &Arc<Hive>, store: &Arc<dyn Store>, cell: &Arc<Cell>) -> Result<(), StoreError> {
    let mut seen = Vec::new();
    each_record(store, Space::Seen, cell.id, |entry| {
        let (record, body) = decode::<SeenRecord>("client's id", &entry.value).map_err(|error| error.to_string())?;
        seen.push((key_id(&entry.key).ok_or("its key is no id")?, record, body));
        Ok(())
    })?;
    seen.sort_by_key(|(_, record, _)| record.time_ns);
    for (id, record, body) in seen {
        hive.outside.load(id, cell.id, record, body);
    }
    Ok(())
}

fn load_calls(hive: &Arc<Hive>, store: &Arc<dyn Store>, cell: &Arc<Cell>) -> Result<(), StoreError> {
    each_record(store, Space::Call, cell.id, |entry| {
        let (record, body) = decode::<CallRecord>("call", &entry.value).map_err(|error| error.to_string())?;
        let call = key_id(&entry.key).ok_or("its key is no id")?;
        let cause = record.cause()?;
        if let Some(reply) = record.end.result(body) {
            hive.calls.load(cause, cell.id, call, Some(reply));
        }
        Ok(())
    })
}

/// Puts the messages that nobody has consumed into their mailboxes, in their old order. Returns which of them have made
/// calls.
fn load_messages(hive: &Arc<Hive>, store: &Arc<dyn Store>) -> Result<HashSet<MessageId>, StoreError> {
    let mut after = Seq(0);
    let mut callers: HashSet<MessageId> = HashSet::new();
    let mut ended: HashSet<(AgentId, MessageId)> = HashSet::new();
    loop {
        let page = store.messages(after, MESSAGES_AT_ONCE_MAX)?;
        let Some(last) = page.last().and_then(|stored| stored.message.row) else { return Ok(callers) };
        after = last;
        for stored in page {
            let Some(cell) = hive.cell(stored.to) else {
                let Err(message) = hive.send_away(stored.to, Box::new(stored.message), None) else { continue };
                crate::dead::lost(hive, stored.to, *message, DeadReason::Absent);
                continue;
            };
            if hive.calls.has(stored.message.id) {
                callers.insert(stored.message.id);
            }
            let mut mind = cell.mind.lock();
            if let Class::Answer { ask, .. } = &stored.message.class {
                // The ask has ended with this answer; a second one would be of an ask that ended before.
                if !ended.insert((cell.id, *ask)) || mind.asks.end(*ask).is_none() {
                    drop(mind);
                    hive.emit_of(&cell, What::MessageDropped { reason: "late-reply" });
                    let row = stored.message.row.unwrap_or(last);
                    hive.commit_later(vec![Write::TakeMessage { row }]);
                    continue;
                }
                mind.agent.mailbox_mut().give_back(0);
            }
            // The gate is at its first position, which takes every message.
            let _ = mind.agent.notice(Box::new(stored.message));
        }
    }
}
