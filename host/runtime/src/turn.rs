//! One turn of an agent: take a batch, enter the guest, and act on how it ended.
//!
//! What a turn asked for is sealed in `seal` and let out in `release`; here is only the order of things.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use skep_core::agent::{AfterFailure, FailureExit, Gate};
use skep_core::event::What;
use skep_core::turn::{Effect, Sealed, Turn};
use skep_core::{AskFailure, BoxedMessage, DeadReason, ExitReason, Incarnation, Limit, Origin, SendError, TurnId};
use skep_engine::{Ended, Failure, NUMBERS_MAX};

use crate::cell::Cell;
use crate::commit::Job;
use crate::hive::Hive;
use crate::running::Running;
use crate::seal::{Plan, seal};

/// A turn that has taken longer than this when it first has to wait is taken for a spinner: one tick of the epoch.
const SPINNER_NS: u64 = 1_000_000;

/// What is known of a turn from its beginning, and while it runs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Began {
    pub(crate) turn: TurnId,
    /// The cell's count of undoings then: if it has changed, the turn is void.
    pub(crate) undoings: u32,
    pub(crate) monotonic_ns: u64,
    /// Of the instance that it runs in.
    pub(crate) incarnation: Incarnation,
    /// On whose behalf its guest has worked last.
    pub(crate) origin: Option<Origin>,
    /// Lines of the log that its guest has written so far.
    pub(crate) lines: u32,
}

impl Began {
    /// A turn begins now.
    pub(crate) fn now(hive: &Hive, cell: &Cell) -> Self {
        Self {
            turn: cell.next_turn(),
            undoings: cell.undoings.load(Ordering::Acquire),
            monotonic_ns: hive.clock.monotonic_ns(),
            ..Self::default()
        }
    }
}

/// How the guest was left.
pub(crate) enum Left {
    /// By itself.
    Ended(Ended),
    /// Over its wall time.
    WallTime(u32),
    /// It was cancelled by a stop or a swap.
    Cancelled,
    /// The host itself panicked inside the sandbox: a defect, held to the agent that met it.
    Panicked,
}

/// How far a turn came: its instance and how the guest was left; or its batch, if the agent could not be brought to run.
type Came = Result<(Running, Left), (Vec<BoxedMessage>, ExitReason)>;

type Inside = Pin<Box<dyn Future<Output = Came> + Send>>;

/// Runs one turn, if the agent has something to do: on this thread until it ends or has to wait; what has to wait goes on
/// in the pool.
pub(crate) fn run(hive: &Arc<Hive>, cell: &Arc<Cell>) {
    let undoings = cell.undoings.load(Ordering::Acquire);
    let (batch, is_roomy) = {
        let mut mind = cell.mind.lock();
        let Some(batch) = mind.agent.begin_turn() else { return };
        (batch, mind.agent.mailbox().is_roomy())
    };
    if is_roomy {
        cell.room.ring();
    }
    let began = Began { undoings, ..Began::now(hive, cell) };
    let instance = cell.instance.lock().take();
    let mut inside: Inside = match instance {
        Some(instance) => Box::pin(over(cell.clone(), instance, began, batch)),
        None => Box::pin(revived(hive.clone(), cell.clone(), began, batch)),
    };
    match inside.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(came) => conclude(hive, cell, began, came),
        Poll::Pending => go_on(hive, cell, began, inside),
    }
}

fn go_on(hive: &Arc<Hive>, cell: &Arc<Cell>, began: Began, inside: Inside) {
    let spins = hive.clock.monotonic_ns().saturating_sub(began.monotonic_ns) >= SPINNER_NS;
    let (hive_then, cell) = (hive.clone(), cell.clone());
    hive.scheduler.go_on(spins, async move {
        let came = inside.await;
        conclude(&hive_then, &cell, began, came);
    });
}

/// The instance was dropped: it is made anew first.
async fn revived(hive: Arc<Hive>, cell: Arc<Cell>, began: Began, batch: Vec<BoxedMessage>) -> Came {
    match crate::instance::obtain(&hive, &cell).await {
        Ok(instance) => over(cell, instance, began, batch).await,
        Err(reason) => Err((batch, reason)),
    }
}

/// The guest goes over a batch.
async fn over(cell: Arc<Cell>, mut instance: Running, began: Began, mut batch: Vec<BoxedMessage>) -> Came {
    // A durable agent fails once, and has all its numbers anew with its next instance; another would lose its memory.
    if !cell.is_durable() {
        let unnumbered = instance.take_unnumbered(&mut batch);
        turn_away(&cell, &instance.host().hive, began, unnumbered);
    }
    instance.host_mut().prepare(began, &batch);
    let is_empty = batch.is_empty();
    let turn = Turn::over(batch, instance.batch_max() == 1);
    if is_empty {
        return Ok((instance, Left::Ended(Ended { turn, outcome: Ok(0), cpu_ticks: 0, yielded: false })));
    }
    let left = enter(&cell, instance.handle(turn)).await;
    Ok((instance, left))
}

/// Names come from outside too, and nobody who sends ever new ones is to end an agent: its instance tells no more of them
/// to its guest, and what brings them is refused.
fn turn_away(cell: &Arc<Cell>, hive: &Arc<Hive>, began: Began, unnumbered: Vec<BoxedMessage>) {
    let (limit, value) = (Limit::Numbers, NUMBERS_MAX as u64);
    for message in unnumbered {
        let scene = cell.scene_of(Began { origin: Some(Origin::of(&message)), ..began });
        hive.notice(cell, &scene, What::LimitReached { limit, value });
        let detail = format!("{limit} = {value} of agent {}", cell.name);
        let refused = AskFailure::NotSent(SendError::Limit(detail.clone()));
        crate::dead::bury_of(hive, cell, scene, *message, DeadReason::Failed(detail), refused);
    }
}

/// Polls the guest once where it stands; only if it has to wait do the wall clock and a cancellation come into play.
pub(crate) async fn enter(cell: &Arc<Cell>, guest: impl Future<Output = Ended> + Send) -> Left {
    tokio::pin!(guest);
    let guest = std::future::poll_fn(move |context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| guest.as_mut().poll(context)));
        polled.map_or(Poll::Ready(Left::Panicked), |polled| polled.map(Left::Ended))
    });
    let mut guest = std::pin::pin!(guest);
    let first = std::future::poll_fn(|context| Poll::Ready(guest.as_mut().poll(context))).await;
    match first {
        Poll::Ready(left) => left,
        // In a place of its own: few turns wait, and those that do not stay small.
        Poll::Pending => Box::pin(wait(cell, guest)).await,
    }
}

async fn wait(cell: &Arc<Cell>, guest: Pin<&mut (impl Future<Output = Left> + Send)>) -> Left {
    let limit_ms = cell.spec.budget.turn_wall_ms_max;
    tokio::select! {
        left = guest => left,
        () = cell.cancel.notified() => Left::Cancelled,
        () = wall_time(limit_ms) => Left::WallTime(limit_ms),
    }
}

#[expect(clippy::disallowed_methods, reason = "a limit of wall time is made of wall time")]
async fn wall_time(limit_ms: u32) {
    tokio::time::sleep(Duration::from_millis(limit_ms.into())).await;
}

impl Left {
    /// The budget of time at which it was ended.
    pub(crate) fn overtime(&self) -> Option<(Limit, u64)> {
        match self {
            Self::WallTime(ms) => Some((Limit::TurnWallMs, (*ms).into())),
            Self::Ended(Ended { outcome: Err(Failure::Deadline { ms }), .. }) => Some((Limit::TurnCpuMs, (*ms).into())),
            _ => None,
        }
    }
}

fn conclude(hive: &Arc<Hive>, cell: &Arc<Cell>, began: Began, came: Came) {
    let (mut instance, left) = match came {
        Ok(came) => came,
        Err((batch, reason)) => return not_entered(hive, cell, began, batch, reason),
    };
    instance.host().tell_overtime(&left);
    if let Left::Ended(ended) = left {
        return ended_by_itself(hive, cell, instance, ended);
    }
    let turn = instance.abandon().unwrap_or_default();
    let began = instance.host().began;
    drop(instance);
    match left {
        Left::WallTime(limit_ms) => {
            let detail = format!("over turn_wall_ms_max = {limit_ms}");
            failed(hive, cell, began, turn, "wall-time", detail);
        }
        Left::Panicked => {
            let detail = "the host panicked inside the sandbox".to_owned();
            failed(hive, cell, began, turn, "host-panic", detail);
        }
        Left::Ended(_) | Left::Cancelled => undone(hive, cell, began, turn),
    }
}

fn ended_by_itself(hive: &Arc<Hive>, cell: &Arc<Cell>, instance: Running, ended: Ended) {
    let began = instance.host().began;
    let failure = match ended.outcome {
        Ok(handled) => match ended.turn.seal(handled) {
            Ok(sealed) => return succeeded(hive, cell, instance, began, sealed),
            Err((rule, turn)) => (*turn, "turn-error", rule.to_string()),
        },
        Err(Failure::State(unreadable)) => {
            drop(instance);
            undone(hive, cell, began, ended.turn);
            return crate::lifecycle::exit(hive, cell, ExitReason::StateUnreadable(unreadable.0));
        }
        Err(failure) => (ended.turn, failure.word(), failure.to_string()),
    };
    drop(instance);
    failed(hive, cell, began, failure.0, failure.1, failure.2);
}

/// The turn ended well.
fn succeeded(hive: &Arc<Hive>, cell: &Arc<Cell>, mut instance: Running, began: Began, mut sealed: Sealed) {
    if cell.undoings.load(Ordering::Acquire) != began.undoings {
        drop(instance);
        let mut batch = sealed.handled;
        batch.append(&mut sealed.rest);
        sealed.undone.append(&mut sealed.effects);
        give_back(hive, cell, sealed.undone);
        return come_again(hive, cell, began, batch, true);
    }
    instance.host_mut().settle();
    give_back(hive, cell, std::mem::take(&mut sealed.undone));
    let handled = sealed.handled.len() as u32;
    let now_ns = hive.clock.monotonic_ns();
    let (mut plan, rest) = match seal(hive, cell, began, sealed, now_ns) {
        Ok(sealed) => sealed,
        Err((unreadable, mut sealed)) => {
            drop(instance);
            give_back(hive, cell, std::mem::take(&mut sealed.effects));
            let mut batch = sealed.handled;
            batch.append(&mut sealed.rest);
            come_again(hive, cell, began, batch, true);
            return crate::lifecycle::exit(hive, cell, ExitReason::StateUnreadable(unreadable));
        }
    };
    cell.stats.memory_bytes.store(instance.memory_bytes(), Ordering::Relaxed);
    let done = Done {
        rest,
        handled,
        cost_ns: now_ns.saturating_sub(began.monotonic_ns),
        waits: plan.needs_commit(cell, began),
    };
    // The agent may run ahead of a commit. Without one, what a turn asked for leaves before the next turn begins.
    let wakes = match &hive.committer {
        Some(committer) if done.waits => {
            let order = plan.give_rows(hive);
            let wakes = end_running(hive, cell, instance, done, Some((committer, job(hive, cell, began, plan))));
            drop(order);
            committer.drive(hive.scheduler.is_quiet());
            wakes
        }
        _ => {
            crate::release::release(hive, cell, plan.into_release());
            end_running(hive, cell, instance, done, None)
        }
    };
    if wakes {
        hive.scheduler.push(cell.clone());
    }
    cell.changed.ring();
}

/// What a turn that ended well means for its agent.
struct Done {
    rest: Vec<BoxedMessage>,
    handled: u32,
    cost_ns: u64,
    waits: bool,
}

/// The next turn may begin, and finds the instance; its commit can only come after that of this one, whose place in the
/// queue is taken before. Says whether the agent is to be put into the queue of those that run.
fn end_running(
    hive: &Hive,
    cell: &Cell,
    instance: Running,
    done: Done,
    commit: Option<(&crate::commit::Committer, Job)>,
) -> bool {
    let mut mind = cell.mind.lock();
    if let Some((committer, job)) = commit {
        committer.queue(job);
    }
    mind.agent.turn_done(done.rest, done.handled, done.cost_ns, done.waits);
    let unwanted = crate::instance::park_by(hive, cell, &mut mind, instance);
    let wakes = mind.agent.wake();
    drop(mind);
    crate::instance::give_up(hive, cell, unwanted);
    wakes
}

/// What is to be committed of a turn, and what follows.
fn job(hive: &Arc<Hive>, cell: &Arc<Cell>, began: Began, plan: Plan) -> Job {
    let (writes, sync, release) = plan.into_commit();
    let (hive_then, cell_then) = (hive.clone(), cell.clone());
    let done = Box::new(move |result: Result<(), crate::commit::CommitFailed>| {
        let (hive, cell) = (hive_then, cell_then);
        match result {
            Ok(()) => {
                // First out, then over: a later turn without a commit of its own must not overtake it.
                crate::release::release(&hive, &cell, release);
                {
                    let mut mind = cell.mind.lock();
                    mind.agent.committed();
                    mind.state.committed(began.turn);
                }
                hive.wake(&cell);
                cell.changed.ring();
            }
            Err(failed) => crate::release::take_back(&hive, &cell, began, release, &failed),
        }
    });
    Job { writes, sync, void: Some((cell.clone(), began.undoings)), done }
}

/// The turn failed: nothing of it is visible, and its instance is dropped already. One that is void by now is undone, and
/// counts for nothing.
fn failed(hive: &Arc<Hive>, cell: &Arc<Cell>, began: Began, turn: Turn, kind: &'static str, detail: String) {
    // The guest may not have come as far as its first message.
    let began = Began { origin: turn.origin(), ..began };
    if cell.undoings.load(Ordering::Acquire) != began.undoings {
        return undone(hive, cell, began, turn);
    }
    cell.stats.turns_failed.fetch_add(1, Ordering::Relaxed);
    let (batch, effects) = turn.fail();
    give_back(hive, cell, effects);
    let mut scene = cell.scene_of(began);
    scene.duration_ns = Some(hive.clock.monotonic_ns().saturating_sub(began.monotonic_ns));
    hive.mark_undone(cell, began);
    let count = batch.len() as u32;
    hive.emit(&scene, What::TurnFailed { kind, detail: detail.clone(), batch: count, lines: began.lines });
    // Earlier turns may still wait for their commit; what follows from the failure must come after them.
    let after = {
        let mut mind = cell.mind.lock();
        mind.last_failure = Some(detail.clone());
        mind.agent.turn_failed(batch, hive.clock.monotonic_ns())
    };
    follow(hive, cell, began, after, detail);
    hive.wake(cell);
    cell.changed.ring();
}

fn follow(hive: &Arc<Hive>, cell: &Arc<Cell>, began: Began, after: AfterFailure, detail: String) {
    let scene = cell.scene_of(began);
    if let Some((message, attempt)) = after.again {
        hive.emit(&scene, What::MessageRedelivered { message, attempt });
    }
    if let Some(message) = after.dead {
        crate::dead::bury_of(hive, cell, scene, *message, DeadReason::Failed(detail.clone()), AskFailure::DeadLetter);
    }
    match after.exit {
        Some(FailureExit::MemoryLost) => crate::lifecycle::exit(hive, cell, ExitReason::TurnFailed(detail)),
        Some(FailureExit::CrashLoop) => crate::lifecycle::exit(hive, cell, ExitReason::CrashLoop),
        None if !cell.is_durable() => cell.mind.lock().state.lose(),
        None => {}
    }
}

/// The turn was given up through no fault of its messages: they come again.
fn undone(hive: &Arc<Hive>, cell: &Arc<Cell>, began: Began, turn: Turn) {
    let (batch, effects) = turn.fail();
    give_back(hive, cell, effects);
    come_again(hive, cell, began, batch, true);
}

pub(crate) fn come_again(
    hive: &Arc<Hive>,
    cell: &Arc<Cell>,
    began: Began,
    batch: Vec<BoxedMessage>,
    was_running: bool,
) {
    cell.stats.undone.fetch_add(batch.len() as u64, Ordering::Relaxed);
    hive.mark_undone(cell, began);
    hive.emit(&cell.scene_of(began), What::TurnUndone { batch: batch.len() as u32, lines: began.lines });
    let orphans = {
        let mut mind = cell.mind.lock();
        mind.agent.turn_undone(began.turn, batch, was_running);
        let ended = mind.agent.gate() == Gate::Ended && !hive.goes_down();
        if ended { mind.agent.mailbox_mut().drain() } else { Vec::new() }
    };
    for message in orphans {
        crate::dead::bury(hive, cell, *message, DeadReason::Stopped, AskFailure::Down(ExitReason::Shutdown));
    }
    hive.wake(cell);
    cell.changed.ring();
}

/// The agent could not be brought to run: its messages wait for the next attempt. One that was cancelled meanwhile, by a
/// stop or a swap, has not failed.
fn not_entered(hive: &Arc<Hive>, cell: &Arc<Cell>, began: Began, batch: Vec<BoxedMessage>, reason: ExitReason) {
    come_again(hive, cell, began, batch, true);
    if reason != ExitReason::Shutdown {
        crate::lifecycle::exit(hive, cell, reason);
    }
}

/// A turn without messages failed: what it asked for does not leave.
pub(crate) fn forsake(hive: &Arc<Hive>, cell: &Arc<Cell>, turn: Turn) {
    let (_, effects) = turn.fail();
    give_back(hive, cell, effects);
}

/// Gives back the room that effects had reserved which do not leave.
pub(crate) fn give_back(hive: &Arc<Hive>, cell: &Arc<Cell>, effects: Vec<Effect>) {
    for effect in effects {
        match effect {
            Effect::Send { to, message } => {
                if message.wants_reply() {
                    cell.mind.lock().agent.mailbox_mut().give_back(0);
                }
                if let Some(target) = hive.cell(to) {
                    target.mind.lock().agent.mailbox_mut().give_back(message.weight_bytes());
                    target.room.ring();
                } else if let Some(link) = hive.link_of(to, message.channel) {
                    link.give_back(message.weight_bytes());
                }
            }
            Effect::Spawn(request) => crate::spawn::give_back(hive, request.id),
            _ => {}
        }
    }
}
