//! Instances of an agent: made, brought back after they were dropped, given up to save memory. Never when an agent
//! starts or ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use skep_core::agent::Gate;
use skep_core::event::What;
use skep_core::turn::Turn;
use skep_core::{ExitReason, Incarnation, MessageId};
use skep_engine::{Failure, Limits, StartReason};

use crate::cell::{Cell, Mind};
use crate::context::TurnContext;
use crate::hive::Hive;
use crate::running::{Component, Running};
use crate::session::SessionGuest;
use crate::turn::{Began, enter};

/// Instances that are dropped at once when the pool is full.
const EVICTED_AT_ONCE_MAX: usize = 64;
/// How long a place in the pool is waited for.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(10);

/// The instance of an agent whose turn is about to run. One that was dropped is brought back.
pub(crate) async fn obtain(hive: &Arc<Hive>, cell: &Arc<Cell>) -> Result<Running, ExitReason> {
    if let Some(instance) = cell.instance.lock().take() {
        return Ok(instance);
    }
    let component = cell.component.lock().clone();
    let mut instance = make(hive, cell, &component).await?;
    if cell.is_durable() {
        wake_up(hive, cell, &mut instance).await?;
    } else {
        crate::lifecycle::start_turn(hive, cell, &mut instance, component.digest(), StartReason::Fresh).await?;
    }
    cell.mind.lock().passive = false;
    hive.emit_of(cell, What::AgentReady { why: "woken" });
    Ok(instance)
}

/// A new instance, before its `start`.
pub(crate) async fn make(hive: &Arc<Hive>, cell: &Arc<Cell>, component: &Component) -> Result<Running, ExitReason> {
    let instance = make_of(hive, cell, component).await;
    let instance = instance.map_err(start_failed)?;
    adopt(cell, &instance);
    Ok(instance)
}

/// What an instance says of itself holds for its agent from now on.
pub(crate) fn adopt(cell: &Cell, instance: &Running) {
    let mut mind = cell.mind.lock();
    mind.incarnation = instance.host().incarnation;
    mind.agent.set_guest_batch_max(instance.batch_max());
    instance.sdk().clone_into(&mut mind.sdk);
}

/// As `make`, of a certain component.
pub(crate) async fn make_of(hive: &Arc<Hive>, cell: &Arc<Cell>, component: &Component) -> Result<Running, Failure> {
    let incarnation = Incarnation(cell.stats.instances.fetch_add(1, Ordering::Relaxed) + 1);
    let component = match component {
        Component::Agent(component) => component,
        Component::Protocol(rules) => {
            let context = TurnContext::new(hive.clone(), cell.clone(), incarnation);
            return Ok(Running::Session(Box::new(SessionGuest::new(rules.clone(), context))));
        }
    };
    let limits = Limits {
        memory_bytes_max: cell.spec.budget.memory_bytes_max,
        cpu_ms_max: cell.spec.budget.turn_cpu_ms_max,
        ..Limits::default()
    };
    let make = || {
        let context = TurnContext::new(hive.clone(), cell.clone(), incarnation);
        hive.engine.instantiate(component, context, limits)
    };
    let made = match make().await {
        Err(full @ Failure::PoolFull { .. }) => {
            let made = tokio::time::timeout(PLACE_WAIT_MAX, with_a_place(hive, make)).await;
            made.unwrap_or(Err(full))
        }
        made => made,
    };
    made.map(|instance| Running::Guest(Box::new(instance)))
}

/// Tries until there is a place. Meanwhile every durable agent's instance gives up its place at the end of its turn, so
/// that none becomes idle unseen after the others were dropped.
async fn with_a_place<T, F>(hive: &Hive, make: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let _wanted = Wanted::of(&hive.places_wanted);
    loop {
        let freed = hive.engine.place_freed();
        match make().await {
            Err(Failure::PoolFull { .. }) => {
                evict(hive);
                freed.await;
            }
            made => return made,
        }
    }
}

/// One more who waits for a place, for as long as it is.
struct Wanted<'a>(&'a AtomicU32);

impl<'a> Wanted<'a> {
    fn of(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An instance that was dropped is needed again: its state is as last committed, and `start` may only read.
async fn wake_up(hive: &Hive, cell: &Arc<Cell>, instance: &mut Running) -> Result<(), ExitReason> {
    instance.host_mut().prepare(Began::now(hive, cell), &[]);
    let turn = Turn::alone(None::<MessageId>, hive.clock.wall_ns());
    let config = cell.spec.config_json.clone();
    let left = enter(cell, instance.start(turn, &config, StartReason::Woken)).await;
    // Without a cause it has asked for nothing.
    crate::lifecycle::ended_alone(instance, left).map(drop).map_err(|(_, reason)| reason)
}

pub(crate) fn start_failed(failure: Failure) -> ExitReason {
    match failure {
        Failure::State(unreadable) => ExitReason::StateUnreadable(unreadable.0),
        failure => ExitReason::StartFailed(format!("{failure} [{}]", failure.code())),
    }
}

/// Gives an instance back after its turn. One that is not wanted any more is dropped.
pub(crate) fn park(hive: &Hive, cell: &Cell, instance: Running) {
    let unwanted = park_by(hive, cell, &mut cell.mind.lock(), instance);
    give_up(hive, cell, unwanted);
}

/// Drops an instance that `park_by` has given back, and tells of it if that was for room.
pub(crate) fn give_up(hive: &Hive, cell: &Cell, unwanted: Option<Running>) {
    let was_parked = unwanted.is_some() && cell.mind.lock().passive;
    drop(unwanted);
    if was_parked && !hive.drop_instances {
        hive.emit_of(cell, What::AgentPassive);
    }
}

/// As `park`, by who has locked the mind; gives back the instance that is not wanted any more, to be dropped later.
#[must_use]
pub(crate) fn park_by(hive: &Hive, cell: &Cell, mind: &mut Mind, instance: Running) -> Option<Running> {
    // Also one that is being stopped: its `stop` is still to run.
    let keeps = matches!(mind.agent.gate(), Gate::Open | Gate::Suspended | Gate::Starting | Gate::Stopping);
    let drops = cell.is_durable() && (hive.drop_instances || hive.places_wanted.load(Ordering::SeqCst) > 0);
    mind.passive |= keeps && drops;
    if keeps && !drops { cell.instance.lock().replace(instance) } else { Some(instance) }
}

/// Drops instances of durable agents that have nothing to do: their memory is only a cache.
fn evict(hive: &Hive) {
    let mut evicted = 0;
    for cell in hive.directory.all() {
        if evicted >= EVICTED_AT_ONCE_MAX {
            break;
        }
        if !cell.is_durable() {
            continue;
        }
        let instance = {
            let mut mind = cell.mind.lock();
            let idle = !mind.agent.is_running() && mind.agent.mailbox().is_empty();
            let instance = if idle { cell.instance.lock().take() } else { None };
            mind.passive |= instance.is_some();
            instance
        };
        if instance.is_some() {
            evicted += 1;
            hive.emit_of(&cell, What::AgentPassive);
        }
    }
}
