//! Agents that are added while the hive runs: by an agent, by an operator, or back from the store. Never starts one:
//! the tree of supervisors does.

use std::sync::Arc;

use skep_core::event::What;
use skep_core::grant::Granted;
use skep_core::spec::{AgentSpec, ChildSpec, Durability, Restart};
use skep_core::supervision::Child;
use skep_core::turn::ChildRequest;
use skep_core::{AgentId, Class, ExitReason, Lineage, Message, MessageId, Name, SendError};
use skep_engine::StartReason;
use skep_store::{Space, Write};

use crate::cell::{Cell, Parent};
use crate::directory::Rested;
use crate::hive::Hive;
use crate::record::{down_body, name_key};

/// Where an agent comes from.
pub(crate) struct Origin {
    pub(crate) id: AgentId,
    pub(crate) lineage: Lineage,
    pub(crate) supervisor: Name,
    pub(crate) parent: Option<Parent>,
    pub(crate) declared: bool,
}

/// Makes the entry of an agent. It takes messages from now on, and is started by its supervisor.
pub(crate) fn plant(hive: &Hive, spec: AgentSpec, granted: Granted, origin: Origin) -> Result<Arc<Cell>, SendError> {
    // Held until the entry is there: a swap changes either what is taken here or the entry.
    let plugins = hive.plugins.read();
    let component = plugins.get(&spec.plugin).map(|entry| entry.component.clone());
    let component = component.ok_or_else(|| SendError::Invalid(format!("there is no plugin {}", spec.plugin)))?;
    let reserved = hive.directory.registry.write().reserve(spec.name.clone(), origin.id);
    reserved.map_err(|_| SendError::Full)?;
    let above = (origin.parent, origin.declared);
    let cell = Cell::new(origin.id, origin.lineage, spec, granted, origin.supervisor, above, component);
    let cell = Arc::new(cell);
    hive.directory.insert(cell.clone());
    hive.hold_name(&cell);
    drop(plugins);
    if let Some(parent) = origin.parent {
        hive.supervision.child_added(parent.id);
    }
    Ok(cell)
}

/// A lineage that no durable agent of this name has had. One without durability always has that of its name: what it
/// does for the same cause has the same ids, also after the host was started again.
pub(crate) fn new_lineage(hive: &Hive, name: &Name, id: AgentId, durability: Durability) -> Lineage {
    let seed = match durability {
        Durability::None => hive.spec.name.to_string(),
        _ => format!("{} {} {}", hive.spec.name, id.0, hive.clock.wall_ns()),
    };
    Lineage(MessageId::of_text(name.as_str(), &seed).0 as u64)
}

/// Number and lineage for a name: those of the agent whose state is kept under it, if there is one.
pub(crate) fn identity(hive: &Hive, name: &Name, durability: Durability) -> Identity {
    if durability > Durability::None
        && let Some(rested) = hive.directory.take_rested(name)
    {
        return Identity { id: rested.id, lineage: rested.lineage, rested: Some(rested) };
    }
    let id = hive.directory.next_id();
    Identity { id, lineage: new_lineage(hive, name, id, durability), rested: None }
}

/// Who an agent is going to be.
pub(crate) struct Identity {
    pub(crate) id: AgentId,
    pub(crate) lineage: Lineage,
    rested: Option<Rested>,
}

impl Identity {
    /// The agent goes on where the one at rest has ended.
    pub(crate) fn resume(&self, cell: &Cell) {
        if let Some(rested) = &self.rested {
            let mut mind = cell.mind.lock();
            (mind.started, mind.ran, mind.unrecorded) = (rested.started, rested.ran, true);
        }
    }

    /// The agent could not be made.
    pub(crate) fn rest_again(&self, hive: &Hive, name: &Name) {
        if let Some(rested) = self.rested {
            hive.directory.rest(name.clone(), rested);
        }
    }
}

/// Reserves name and number for a child that a turn asks for. What follows is `perform`, or `give_back`.
pub(crate) fn reserve(
    hive: &Arc<Hive>,
    parent: &Arc<Cell>,
    request: &ChildRequest,
    plugin: Name,
) -> Result<AgentId, SendError> {
    if hive.directory.resolve(&request.name).is_some() {
        return Err(SendError::Full);
    }
    let is_session = hive.plugins.read().get(&plugin).is_some_and(|entry| entry.component.protocol().is_some());
    if hive.directory.is_session_at_rest(&request.name) {
        return Err(SendError::Full);
    }
    let identity = identity(hive, &request.name, request.durability);
    let mut spec = AgentSpec {
        config_json: request.config_json.clone(),
        durability: request.durability,
        restart: request.restart,
        grants: parent.spec.grants.clone(),
        budget: parent.spec.budget,
        shutdown: parent.spec.shutdown,
        ..AgentSpec::new(request.name.clone(), plugin.clone())
    };
    if is_session {
        crate::session::suit(&mut spec);
    }
    let origin = Origin {
        id: identity.id,
        lineage: identity.lineage,
        supervisor: parent.supervisor.clone(),
        parent: Some(Parent { id: parent.id, owned: request.owned }),
        declared: false,
    };
    // A child has what its parent has, no more.
    let granted = parent.granted.inherited(request.name.clone(), plugin);
    let cell = plant(hive, spec, granted, origin).inspect_err(|_| identity.rest_again(hive, &request.name))?;
    identity.resume(&cell);
    Ok(cell.id)
}

/// The turn that asked for the child was undone.
pub(crate) fn give_back(hive: &Arc<Hive>, id: AgentId) {
    let Some(rested) = hive.cell(id).map(|cell| resting(&cell)) else { return };
    if let Some(cell) = remove(hive, id, rested) {
        if let Some(parent) = cell.parent {
            hive.supervision.child_gone(parent.id);
        }
        crate::lifecycle::order(hive, &cell, crate::cell::Order::Finish { gone: false, keep: false });
    }
}

/// Its entry goes, here and for the other hosts.
fn remove(hive: &Hive, id: AgentId, rested: Option<Rested>) -> Option<Arc<Cell>> {
    let cell = hive.directory.remove(id, rested)?;
    hive.free_name(&cell);
    Some(cell)
}

/// What is kept of it under its name, for who comes next.
fn resting(cell: &Cell) -> Option<Rested> {
    let (started, ran) = {
        let mind = cell.mind.lock();
        (mind.started, mind.ran)
    };
    let rests = cell.is_durable() && started;
    let is_session = cell.component.lock().protocol().is_some();
    rests.then_some(Rested { id: cell.id, lineage: cell.lineage, started, ran, is_session })
}

/// The row of a durable child: written in its parent's commit.
pub(crate) fn record(hive: &Arc<Hive>, request: &ChildRequest) -> Option<Write> {
    let cell = hive.cell(request.id)?;
    cell.is_durable().then(|| crate::spec_record::write(hive, &cell))
}

/// Starts a child whose parent's turn is committed.
pub(crate) fn perform(hive: &Arc<Hive>, parent: &Arc<Cell>, request: ChildRequest) {
    let Some(cell) = hive.cell(request.id) else { return };
    let spec = ChildSpec::Agent(Box::new(cell.spec.clone()));
    if let Err(error) = hive.add_child(cell.supervisor.as_str(), &spec) {
        give_back(hive, cell.id);
        let reason = ExitReason::StartFailed(error.to_string());
        tell_down(hive, parent, cell.id, &reason);
    }
}

/// A declared agent that had gone is to be started with its supervisor.
pub(crate) fn declare_again(
    hive: &Arc<Hive>,
    spec: &Arc<AgentSpec>,
    supervisor: Option<Child<'_>>,
) -> Result<Arc<Cell>, ExitReason> {
    let failed = |why: String| ExitReason::StartFailed(why);
    let granted =
        Granted::new(spec.name.clone(), spec.plugin.clone(), &spec.grants).map_err(|bad| failed(bad.to_string()))?;
    let identity = identity(hive, &spec.name, spec.durability);
    let (id, lineage) = (identity.id, identity.lineage);
    let supervisor = supervisor.map_or_else(|| hive.spec.root.name.clone(), |above| above.name().clone());
    let origin = Origin { id, lineage, supervisor, parent: None, declared: true };
    let planted = plant(hive, (**spec).clone(), granted, origin);
    let planted = planted.inspect_err(|_| identity.rest_again(hive, &spec.name));
    let cell = planted.map_err(|error| failed(error.to_string()))?;
    identity.resume(&cell);
    crate::boot::subscribe_declared(hive, &cell).map_err(|error| failed(error.to_string()))?;
    Ok(cell)
}

/// The agent is gone from the tree: its entry goes, and with it what the store has of it, but not its state.
pub(crate) fn gone(hive: &Arc<Hive>, cell: &Arc<Cell>) {
    let mut rested = None;
    if cell.is_durable() {
        let mut writes: Vec<Write> = [Space::Timer, Space::Ask, Space::Owed, Space::Handle]
            .into_iter()
            .map(|space| Write::DeleteAll { space, owner: cell.id })
            .collect();
        if cell.spec.restart == Restart::Temporary || !cell.mind.lock().started {
            // Nothing starts it again, or it never came up: nobody would read its state.
            writes = purge_writes(cell.id);
        } else {
            writes.push(crate::spec_record::ended(hive, cell));
            rested = resting(cell);
        }
        // Before its name is free: what the next one of it writes comes after.
        hive.commit_later(writes);
    }
    remove(hive, cell.id, rested);
    crate::session::forget_oldest(hive);
    hive.alarms.forget_asks(cell.id);
    hive.calls.close(hive, crate::lifecycle::start_cause(hive, cell, &StartReason::Fresh));
    if let Some(parent) = cell.parent {
        hive.supervision.child_gone(parent.id);
    }
    hive.emit_of(cell, What::AgentGone);
}

/// Removes all that the store has of an agent.
pub(crate) fn purge_writes(id: AgentId) -> Vec<Write> {
    let spaces =
        [Space::Agent, Space::State, Space::Timer, Space::Ask, Space::Owed, Space::Handle, Space::Seen, Space::Call];
    let mut writes: Vec<Write> = spaces.into_iter().map(|space| Write::DeleteAll { space, owner: id }).collect();
    // What others have from it, or for it, stays its own: nobody gets its number.
    let (key, value) = (crate::record::block_key(id), skep_core::Bytes::new());
    writes.push(Write::Put { space: Space::Hive, owner: AgentId::OUTSIDE, key, value });
    writes
}

/// The key of an agent's one record.
pub(crate) fn record_key(cell: &Cell) -> skep_core::Bytes {
    name_key(&cell.name)
}

/// Children that are owned end with their owner, and an owner is told of a child's end. Whoever has started a child is
/// told if it never came up. When the whole host ends, that is nobody's end in particular.
pub(crate) fn owner_ended(hive: &Arc<Hive>, cell: &Arc<Cell>, reason: &ExitReason) {
    if hive.stopping.load(std::sync::atomic::Ordering::Relaxed) {
        return;
    }
    let came_up = cell.mind.lock().started;
    if let Some(parent) = cell.parent.filter(|parent| parent.owned || !came_up)
        && let Some(owner) = hive.cell(parent.id)
    {
        tell_down(hive, &owner, cell.id, reason);
    }
    if hive.supervision.children_of(cell.id) == 0 {
        return;
    }
    let all = hive.directory.all().into_iter();
    let owned: Vec<Arc<Cell>> =
        all.filter(|child| child.parent.is_some_and(|parent| parent.owned && parent.id == cell.id)).collect();
    if owned.is_empty() {
        return;
    }
    let hive = hive.clone();
    // Not from here: the end may be told while the tree is locked.
    hive.scheduler.handle().clone().spawn(async move {
        let (sessions, others): (Vec<_>, Vec<_>) =
            owned.into_iter().partition(|child| child.component.lock().protocol().is_some());
        others.iter().for_each(|child| hive.terminate_agent(child));
        for child in sessions {
            let hive = hive.clone();
            hive.scheduler.handle().clone().spawn(async move {
                crate::session::stop(&hive, &child, "who has opened it has ended").await;
                hive.terminate_agent(&child);
            });
        }
    });
}

/// One message about the end of another agent.
pub(crate) fn tell_down(hive: &Arc<Hive>, to: &Arc<Cell>, from: AgentId, reason: &ExitReason) {
    let now_ns = hive.clock.wall_ns();
    let id = MessageId::derive(MessageId(u128::from(now_ns) << 64 | u128::from(from.0)), to.lineage, 0);
    let message = Message {
        id,
        sender: from,
        kind: Name::down(),
        channel: skep_core::Channel::Control,
        class: Class::Down,
        failed_turns: 0,
        hops: 0,
        accepted_ns: now_ns,
        row: None,
        body: down_body(reason),
        rare: None,
    };
    if to.notice(message) {
        hive.wake(to);
    }
}
