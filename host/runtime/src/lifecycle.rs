//! The life of an agent: started, stopped and ended as its supervisor orders, one order after the other.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use skep_core::agent::Gate;
use skep_core::event::What;
use skep_core::spec::Shutdown;
use skep_core::supervision::{ChildId, Event};
use skep_core::turn::Turn;
use skep_core::{AgentId, AskFailure, DeadReason, Digest, ExitReason, MessageId};
use skep_engine::StartReason;
use skep_store::Write;

use crate::answer::End;
use crate::cell::{Cell, Order};
use crate::commit::{CommitFailed, Job};
use crate::hive::Hive;
use crate::instance::{make, park, start_failed};
use crate::running::{Component, Running};
use crate::seal::{Plan, Release, seal};
use crate::turn::{Began, Left, enter};

/// Puts an order into the agent's queue; orders are performed one after the other.
pub(crate) fn order(hive: &Arc<Hive>, cell: &Arc<Cell>, order: Order) {
    // The patience of a supervisor above is at its end: a stop that is under way is cut short.
    if let Order::Stop(_, _, Shutdown::Brutal) = order {
        cell.killed.notify_waiters();
    }
    let stops = matches!(order, Order::Stop(..));
    let starts = {
        let mut orders = cell.orders.lock();
        orders.waiting.push_back(order);
        !std::mem::replace(&mut orders.under_way, true)
    };
    // A start that waits for something is given up for the stop that follows it, and so is a swap; a turn is let end.
    if stops {
        let gate = cell.mind.lock().agent.gate();
        match gate {
            Gate::Starting => cell.cancel.notify_waiters(),
            Gate::Suspended => crate::swap::give_up(hive, cell),
            _ => {}
        }
    }
    if starts {
        let (hive, cell) = (hive.clone(), cell.clone());
        hive.scheduler.handle().clone().spawn(perform_orders(hive, cell));
    }
}

async fn perform_orders(hive: Arc<Hive>, cell: Arc<Cell>) {
    loop {
        let next = {
            let mut orders = cell.orders.lock();
            let next = orders.waiting.pop_front();
            orders.under_way = next.is_some();
            next
        };
        // Not while a swap is at it.
        let _alone = cell.life.lock().await;
        match next {
            Some(Order::Start(child)) => start(&hive, &cell, child).await,
            Some(Order::Stop(child, reason, how)) => stop(&hive, &cell, child, reason, how).await,
            Some(Order::Renew(done)) => drop(done.send(renew(&hive, &cell).await)),
            Some(Order::Finish { gone, keep }) => finish(&hive, &cell, gone, keep),
            None => return,
        }
    }
}

async fn start(hive: &Arc<Hive>, cell: &Arc<Cell>, child: ChildId) {
    match come_up(hive, cell).await {
        Ok(why) => {
            // Before its first turn, in which it may end: to the tree, only what has started can exit.
            hive.supervise(Event::Started { child });
            open(hive, cell, why);
        }
        Err(reason) => {
            cell.set_gate(Gate::Down);
            ended_now(hive, cell, reason.clone());
            hive.supervise(Event::StartFailed { child, reason });
        }
    }
    exit_as_wanted(hive, cell);
}

/// One that was at rest has let go of what it held.
async fn come_up(hive: &Arc<Hive>, cell: &Arc<Cell>) -> Result<&'static str, ExitReason> {
    let was_at_rest = std::mem::take(&mut cell.mind.lock().let_go);
    if was_at_rest {
        hive.hold_name(cell);
        crate::boot::hold_again(hive, cell).map_err(|error| ExitReason::StateUnreadable(error.to_string()))?;
    }
    bring_up(hive, cell).await
}

/// A new instance of an agent that runs, at an operator's word: mailbox, asks and timers stay.
async fn renew(hive: &Arc<Hive>, cell: &Arc<Cell>) -> Result<(), ExitReason> {
    {
        let mut mind = cell.mind.lock();
        if mind.agent.gate() != Gate::Open {
            return Err(mind.exit.clone().unwrap_or(ExitReason::Shutdown));
        }
        mind.agent.set_gate(Gate::Suspended);
    }
    cell.changed.ring();
    cell.quiet().await;
    drop(cell.instance.lock().take());
    cell.mind.lock().state.lose();
    let result = bring_up(hive, cell).await.map(|why| open(hive, cell, why));
    if let Err(reason) = &result {
        // What failed was not a start that the tree had asked for: to it, the agent has run until now.
        cell.set_gate(Gate::Open);
        exit(hive, cell, reason.clone());
    }
    exit_as_wanted(hive, cell);
    result
}

/// Makes an instance and runs its `start`. What follows is `open`, with the word that this gives.
async fn bring_up(hive: &Arc<Hive>, cell: &Arc<Cell>) -> Result<&'static str, ExitReason> {
    cell.set_gate(Gate::Starting);
    hive.emit_of(cell, What::AgentStarting);
    cell.quiet().await;
    // A turn that has ended since the last end may have left something in memory.
    cell.mind.lock().state.lose();
    crate::boot::count_state(hive, cell).map_err(ExitReason::StateUnreadable)?;
    let component = cell.component.lock().clone();
    let (instance, word) = match other_version(cell, &component) {
        Some(from) => (bring_to_version(hive, cell, &component, from).await?, "upgraded"),
        None => {
            let why = start_reason(cell);
            let word = why.word();
            let mut instance = make(hive, cell, &component).await?;
            start_turn(hive, cell, &mut instance, component.digest(), why).await?;
            (instance, word)
        }
    };
    {
        let mut mind = cell.mind.lock();
        mind.ran = Some(component.digest());
        (mind.exit, mind.degraded, mind.failing, mind.passive) = (None, None, None, false);
    }
    park(hive, cell, instance);
    Ok(word)
}

/// Opens the gate. Told before, so that what the agent does comes after it.
fn open(hive: &Arc<Hive>, cell: &Arc<Cell>, why: &'static str) {
    hive.emit_of(cell, What::AgentReady { why });
    {
        // One that has ended itself in its start takes no message.
        let mut mind = cell.mind.lock();
        if mind.exit_wanted.is_none() {
            mind.agent.set_gate(Gate::Open);
        }
    }
    cell.changed.ring();
    catch_up(hive, cell);
    hive.wake(cell);
}

/// An agent that a swap has found starting, or not at all, runs the version of before: it gets a new instance.
pub(crate) fn catch_up(hive: &Arc<Hive>, cell: &Arc<Cell>) {
    let digest = cell.component.lock().digest();
    let is_behind = {
        let mind = cell.mind.lock();
        mind.agent.gate() == Gate::Open && mind.ran.is_some_and(|ran| ran != digest)
    };
    if is_behind {
        let (done, _) = tokio::sync::oneshot::channel();
        order(hive, cell, Order::Renew(done));
    }
}

fn start_reason(cell: &Cell) -> StartReason {
    if cell.is_durable() && cell.mind.lock().started { StartReason::Restarted } else { StartReason::Fresh }
}

/// The version that the state was last written by, if it is another one: the manifest's file has changed.
fn other_version(cell: &Cell, component: &Component) -> Option<Digest> {
    let mind = cell.mind.lock();
    mind.ran.filter(|ran| cell.is_durable() && mind.started && *ran != component.digest())
}

async fn bring_to_version(
    hive: &Arc<Hive>,
    cell: &Arc<Cell>,
    component: &Component,
    from: Digest,
) -> Result<Running, ExitReason> {
    let upgraded = crate::upgrade::upgrade(hive, cell, component, from).await;
    let mut upgraded = upgraded.map_err(ExitReason::StartFailed)?;
    let started = vec![crate::spec_record::started(hive, cell, component.digest())];
    if let Err(error) = crate::upgrade::commit(hive, std::slice::from_mut(&mut upgraded), started).await {
        upgraded.take_back(hive, cell);
        return Err(ExitReason::StartFailed(format!("{error} [{}]", error.code())));
    }
    {
        let mut mind = cell.mind.lock();
        mind.state.committed(upgraded.start.began.turn);
        mind.unrecorded = false;
    }
    crate::instance::adopt(cell, &upgraded.instance);
    crate::release::release(hive, cell, upgraded.migrate);
    crate::release::release(hive, cell, upgraded.start);
    Ok(upgraded.instance)
}

/// The turn of `start`: atomic as any other, and committed before the agent takes messages.
pub(crate) async fn start_turn(
    hive: &Arc<Hive>,
    cell: &Arc<Cell>,
    instance: &mut Running,
    digest: Digest,
    why: StartReason,
) -> Result<(), ExitReason> {
    instance.host_mut().prepare(Began::now(hive, cell), &[]);
    let cause = start_cause(hive, cell, &why);
    let turn = Turn::alone(Some(cause), hive.clock.wall_ns());
    let config = cell.spec.config_json.clone();
    let left = enter(cell, instance.start(turn, &config, why)).await;
    instance.host_mut().settle();
    let began = instance.host().began;
    let started = match ended_alone(instance, left) {
        Ok(turn) => commit_alone(hive, cell, began, turn, started_record(hive, cell, digest), None).await,
        Err((turn, reason)) => {
            crate::turn::forsake(hive, cell, turn);
            Err(reason)
        }
    };
    // A first start of a durable agent that failed comes again, and gets the same replies.
    if started.is_ok() || !cell.is_durable() || why != StartReason::Fresh {
        hive.calls.close(hive, cause);
    }
    started
}

/// How a turn without messages ended: well, or why not and what is left of it.
pub(crate) fn ended_alone(instance: &mut Running, left: Left) -> Result<Turn, (Turn, ExitReason)> {
    instance.host().tell_overtime(&left);
    let reason = match left {
        Left::Ended(ended) => match ended.outcome {
            Ok(_) => return Ok(ended.turn),
            Err(failure) => {
                instance.host().forsaken();
                return Err((ended.turn, start_failed(failure)));
            }
        },
        Left::WallTime(limit_ms) => ExitReason::StartFailed(format!("over turn_wall_ms_max = {limit_ms}")),
        Left::Cancelled => ExitReason::Shutdown,
        Left::Panicked => ExitReason::StartFailed("the host panicked inside the sandbox".to_owned()),
    };
    let turn = instance.abandon().unwrap_or_default();
    instance.host().forsaken();
    Err((turn, reason))
}

/// The same for a durable agent's only `fresh`, another one for every other start.
pub(crate) fn start_cause(hive: &Hive, cell: &Cell, why: &StartReason) -> MessageId {
    let line = format!("{:016x}", cell.lineage.0);
    match why {
        StartReason::Fresh if cell.is_durable() => MessageId::of_text("start", &line),
        _ => MessageId::of_text("start again", &format!("{line} {}", hive.clock.wall_ns())),
    }
}

fn started_record(hive: &Arc<Hive>, cell: &Arc<Cell>, digest: Digest) -> Vec<Write> {
    let is_recorded = {
        let mind = cell.mind.lock();
        mind.started && !mind.unrecorded
    };
    if !cell.is_durable() || is_recorded {
        return Vec::new();
    }
    vec![crate::spec_record::started(hive, cell, digest)]
}

/// Seals a turn without messages.
pub(crate) fn seal_alone(hive: &Arc<Hive>, cell: &Arc<Cell>, began: Began, turn: Turn) -> Result<Plan, ExitReason> {
    let sealed = turn.seal(0).map_err(|(rule, turn)| {
        crate::turn::forsake(hive, cell, *turn);
        ExitReason::StartFailed(rule.to_string())
    })?;
    match seal(hive, cell, began, sealed, hive.clock.monotonic_ns()) {
        Ok((plan, _)) => Ok(plan),
        Err((unreadable, sealed)) => {
            crate::turn::give_back(hive, cell, sealed.effects);
            Err(ExitReason::StateUnreadable(unreadable))
        }
    }
}

/// Commits a turn without messages together with other writes, and lets its effects out: also if nobody waits for it any
/// more, since what is committed has happened.
pub(crate) async fn commit_alone(
    hive: &Arc<Hive>,
    cell: &Arc<Cell>,
    began: Began,
    turn: Turn,
    more: Vec<Write>,
    void: Option<(Arc<Cell>, u32)>,
) -> Result<(), ExitReason> {
    let mut plan = seal_alone(hive, cell, began, turn)?;
    let order = plan.give_rows(hive);
    let (mut writes, sync, release) = plan.into_commit();
    writes.extend(more);
    let Some(committer) = hive.committer.as_ref().filter(|_| !writes.is_empty()) else {
        stands(hive, cell, release);
        return Ok(());
    };
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let (hive_then, cell_then) = (hive.clone(), cell.clone());
    let done = Box::new(move |result: Result<(), CommitFailed>| {
        let (hive, cell) = (hive_then, cell_then);
        let ended = match result {
            Ok(()) => {
                stands(&hive, &cell, release);
                Ok(())
            }
            Err(failed) => {
                cell.mind.lock().state.undo();
                crate::release::retract_alone(&hive, &cell, release);
                let error = failed.into_error();
                Err(ExitReason::StartFailed(format!("{error} [{}]", error.code())))
            }
        };
        drop(sender.send(ended));
    });
    committer.queue(Job { writes, sync, void, done });
    drop(order);
    committer.drive(hive.scheduler.is_quiet());
    receiver.await.unwrap_or(Err(ExitReason::Shutdown))
}

/// A turn without messages is committed.
fn stands(hive: &Arc<Hive>, cell: &Arc<Cell>, release: Release) {
    {
        let mut mind = cell.mind.lock();
        mind.state.committed(release.began.turn);
        (mind.started, mind.unrecorded) = (true, false);
    }
    crate::release::release(hive, cell, release);
}

async fn stop(hive: &Arc<Hive>, cell: &Arc<Cell>, child: ChildId, reason: ExitReason, how: Shutdown) {
    let was_up = {
        let mut mind = cell.mind.lock();
        let up = mind.agent.gate() == Gate::Open;
        mind.agent.set_gate(if up { Gate::Stopping } else { Gate::Down });
        // Whoever has wanted its end has it, and nobody wants that of the next start.
        mind.exit_wanted = None;
        up
    };
    cell.changed.ring();
    // One that has ended before, or never came up, has told whom its end concerns.
    if was_up {
        let reason = cell.mind.lock().stop_with.take().unwrap_or(reason);
        let ended = end_by(hive, cell, &reason, how).await;
        cell.set_gate(Gate::Down);
        cell.mind.lock().state.lose();
        ended_now(hive, cell, ended);
    }
    hive.supervise(Event::Stopped { child });
}

/// Lets the running turn end and calls `stop`, as long as `how` allows and nobody loses patience; then it is killed.
async fn end_by(hive: &Arc<Hive>, cell: &Arc<Cell>, reason: &ExitReason, how: Shutdown) -> ExitReason {
    let mut patience = std::pin::pin!(patience(cell, how));
    let is_quiet = tokio::select! {
        biased;
        () = &mut patience => false,
        () = cell.quiet() => true,
    };
    let instance = if is_quiet { cell.instance.lock().take() } else { None };
    let in_time = match instance {
        Some(mut instance) => stop_turn(hive, cell, &mut instance, reason, patience).await,
        None => is_quiet,
    };
    if in_time {
        return reason.clone();
    }
    give_up_turn(cell);
    ExitReason::Killed
}

/// Comes to its end when it has lasted long enough.
async fn patience(cell: &Cell, how: Shutdown) {
    let killed = cell.killed.notified();
    match how {
        Shutdown::Brutal => {}
        Shutdown::AfterMs(limit_ms) => drop(tokio::time::timeout(Duration::from_millis(limit_ms.into()), killed).await),
        Shutdown::Infinity => killed.await,
    }
}

/// Whatever runs is void from now on.
fn give_up_turn(cell: &Cell) {
    cell.undoings.fetch_add(1, Ordering::AcqRel);
    cell.cancel.notify_waiters();
    drop(cell.instance.lock().take());
}

/// Best effort: what `stop` does counts only if it ends well. Says whether it ended before the patience did.
async fn stop_turn(
    hive: &Arc<Hive>,
    cell: &Arc<Cell>,
    instance: &mut Running,
    reason: &ExitReason,
    mut patience: Pin<&mut impl Future<Output = ()>>,
) -> bool {
    instance.host_mut().prepare(Began::now(hive, cell), &[]);
    let cause = MessageId::of_text("stop", &format!("{:016x} {}", cell.lineage.0, hive.clock.wall_ns()));
    let turn = Turn::alone(Some(cause), hive.clock.wall_ns());
    let left = tokio::select! {
        left = enter(cell, instance.stop(turn, reason)) => left,
        () = &mut patience => Left::Cancelled,
    };
    let mut in_time = !matches!(left, Left::Cancelled);
    let ended = ended_alone(instance, left);
    let began = instance.host().began;
    match ended {
        // A commit that fails here leaves nothing behind; the agent ends all the same.
        Ok(turn) => {
            let void = Some((cell.clone(), began.undoings));
            in_time = tokio::select! {
                _ = commit_alone(hive, cell, began, turn, Vec::new(), void) => true,
                () = patience => false,
            };
        }
        Err((turn, _)) => crate::turn::forsake(hive, cell, turn),
    }
    hive.calls.close(hive, cause);
    in_time
}

/// The agent exits by itself, by a link, or by its failures. Its supervisor decides what follows.
///
/// While it starts or is swapped, the exit waits: it follows when the agent is open.
pub(crate) fn exit(hive: &Arc<Hive>, cell: &Arc<Cell>, reason: ExitReason) {
    {
        let mut mind = cell.mind.lock();
        match mind.agent.gate() {
            Gate::Open => {
                mind.agent.set_gate(Gate::Down);
                mind.state.lose();
            }
            Gate::Starting | Gate::Suspended => {
                mind.exit_wanted.get_or_insert(reason);
                return;
            }
            Gate::Down | Gate::Stopping | Gate::Ended => return,
        }
    }
    has_exited(hive, cell, reason);
}

fn has_exited(hive: &Arc<Hive>, cell: &Arc<Cell>, reason: ExitReason) {
    give_up_turn(cell);
    cell.changed.ring();
    ended_now(hive, cell, reason.clone());
    if let Some(child) = hive.supervision.child_of(cell) {
        hive.supervise(Event::Exited { child, reason });
    }
}

/// The exit that was asked for while the agent started or was swapped.
pub(crate) fn exit_as_wanted(hive: &Arc<Hive>, cell: &Arc<Cell>) {
    let reason = {
        let mut mind = cell.mind.lock();
        let Some(reason) = mind.exit_wanted.take() else { return };
        if !matches!(mind.agent.gate(), Gate::Open | Gate::Starting) {
            return;
        }
        mind.agent.set_gate(Gate::Down);
        mind.state.lose();
        reason
    };
    has_exited(hive, cell, reason);
}

/// What an end means for others: those who are linked, who watch, who wait for a reply, and its own children.
fn ended_now(hive: &Arc<Hive>, cell: &Arc<Cell>, reason: ExitReason) {
    hive.emit_of(cell, What::AgentExited(reason.clone()));
    let owed = {
        let mut mind = cell.mind.lock();
        mind.exit = Some(reason.clone());
        // A durable agent that is started again still owes what it owed.
        if cell.is_durable() { Vec::new() } else { mind.asks.settle_all() }
    };
    for (ask, owed) in owed {
        crate::answer::end_ask(hive, cell.id, ask, &owed, Err(AskFailure::Down(reason.clone())));
    }
    crate::links::exited(hive, cell, &reason);
    crate::spawn::owner_ended(hive, cell, &reason);
}

/// The agent rests or is gone: whatever waits for it is told, and its mailbox becomes dead letters. With `keep` the whole
/// hive goes down: what waits is as durable as it is, and comes back with the hive.
fn finish(hive: &Arc<Hive>, cell: &Arc<Cell>, gone: bool, keep: bool) {
    if keep {
        // Those that still run may send to it: what they send comes back with the hive too.
        return cell.set_gate(Gate::Down);
    }
    let (waiting, owed) = {
        let mut mind = cell.mind.lock();
        mind.agent.set_gate(Gate::Ended);
        mind.state.lose();
        (mind.agent.mailbox_mut().drain(), mind.asks.settle_all())
    };
    drop(cell.instance.lock().take());
    let reason = cell.mind.lock().exit.clone().unwrap_or(ExitReason::Shutdown);
    for message in waiting {
        crate::dead::bury(hive, cell, *message, DeadReason::Stopped, AskFailure::Down(reason.clone()));
    }
    for owed in owed {
        let mut writes = Vec::new();
        let end = End::of(hive, cell, owed, AskFailure::Down(reason.clone()), &mut writes);
        hive.commit_later(writes);
        end.tell(hive, cell);
    }
    hive.alarms.remove_agent(cell.id);
    hive.free_name(cell);
    skep_bus::Bus::remove(&hive.bus, cell.id);
    if gone {
        crate::spawn::gone(hive, cell);
    }
    cell.mind.lock().let_go = true;
    cell.changed.ring();
    cell.room.ring();
}

/// An agent stops one that it started.
pub(crate) fn stop_child(hive: &Arc<Hive>, agent: AgentId, reason: ExitReason) {
    let Some(cell) = hive.cell(agent) else { return };
    cell.mind.lock().stop_with = Some(reason);
    if cell.component.lock().protocol().is_none() {
        return hive.terminate_agent(&cell);
    }
    let hive = hive.clone();
    hive.scheduler.handle().clone().spawn(async move {
        crate::session::stop(&hive, &cell, "who has opened it has stopped it").await;
        hive.terminate_agent(&cell);
    });
}
