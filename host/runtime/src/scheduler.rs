//! Who runs next. Runnable agents wait in one queue; a worker takes one, runs its turn where it stands, and hands it to
//! the pool only if it has to wait. An idle agent costs nothing here.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Notify;

use crate::cell::Cell;

/// Turns that a worker runs before it lets others of its pool go on.
const TURNS_BETWEEN_YIELDS: u32 = 61;
/// A turn that has taken longer than this when it first has to wait is taken for a spinner: one tick of the epoch.
const SPINNER_NS: u64 = 1_000_000;

pub(crate) type TurnFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// See the module.
pub(crate) struct Scheduler {
    queue: Mutex<VecDeque<Arc<Cell>>>,
    waiting: Notify,
    idle: AtomicUsize,
    busy: AtomicUsize,
    stopped: AtomicBool,
    turns: Pool,
    /// Where turns go on that have used a whole tick, so that spinners compete with spinners.
    spinners: Pool,
    workers: usize,
}

/// Threads below the priority of whoever commits.
struct Pool {
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
}

thread_local! {
    /// The agent that the worker of this thread runs next: the first one that its turn has woken, which is still warm
    /// in this core's cache. None in other threads.
    static NEXT: RefCell<Option<Option<Arc<Cell>>>> = const { RefCell::new(None) };
}

impl Scheduler {
    pub(crate) fn new(workers: usize) -> std::io::Result<Self> {
        Ok(Self {
            queue: Mutex::new(VecDeque::new()),
            waiting: Notify::new(),
            idle: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            turns: Pool::new("skep-turn", workers, 5)?,
            spinners: Pool::new("skep-spin", workers, 15)?,
            workers,
        })
    }

    /// Starts the workers; `run` makes the turn of an agent.
    pub(crate) fn start(self: &Arc<Self>, run: Arc<dyn Fn(Arc<Cell>) -> TurnFuture + Send + Sync>) {
        for _ in 0..self.workers {
            let scheduler = self.clone();
            let run = run.clone();
            self.turns.handle.spawn(async move { scheduler.work(&*run).await });
        }
    }

    /// The pool for what has to wait: starts, stops, swaps.
    pub(crate) fn handle(&self) -> &Handle {
        &self.turns.handle
    }

    /// Whether nobody else has anything to run now.
    pub(crate) fn is_quiet(&self) -> bool {
        self.busy.load(Ordering::Relaxed) <= 1 && self.queue.lock().is_empty()
    }

    /// Puts a runnable agent into the queue.
    pub(crate) fn push(&self, cell: Arc<Cell>) {
        let spill = NEXT.with(|next| match &mut *next.borrow_mut() {
            Some(slot) if slot.is_none() => {
                *slot = Some(cell);
                None
            }
            _ => Some(cell),
        });
        if let Some(cell) = spill {
            self.queue.lock().push_back(cell);
            if self.idle.load(Ordering::SeqCst) > 0 {
                self.waiting.notify_one();
            }
        }
    }

    async fn work(&self, run: &(dyn Fn(Arc<Cell>) -> TurnFuture + Send + Sync)) {
        let mut turns = 0u32;
        while !self.stopped.load(Ordering::Relaxed) {
            let Some(cell) = self.next().await else { continue };
            self.run_here(run(cell), true);
            turns += 1;
            if turns >= TURNS_BETWEEN_YIELDS {
                turns = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    async fn next(&self) -> Option<Arc<Cell>> {
        if let Some(cell) = self.queue.lock().pop_front() {
            return Some(cell);
        }
        let notified = self.waiting.notified();
        self.idle.fetch_add(1, Ordering::SeqCst);
        // Once more, for what was pushed before `idle` was counted up.
        let late = self.queue.lock().pop_front();
        if late.is_none() && !self.stopped.load(Ordering::SeqCst) {
            notified.await;
        }
        self.idle.fetch_sub(1, Ordering::SeqCst);
        late
    }

    /// Runs a turn on this thread until it ends or has to wait; what has to wait goes on in the pool, so the caller
    /// may be dropped at any time. As a worker, it runs next what the turn has woken.
    pub(crate) fn run_here(&self, turn: TurnFuture, as_worker: bool) {
        let _inside = self.turns.handle.enter();
        self.busy.fetch_add(1, Ordering::Relaxed);
        if as_worker {
            NEXT.with(|next| *next.borrow_mut() = Some(None));
        }
        self.poll_once(turn);
        if as_worker && let Some(next) = NEXT.with(|next| next.borrow_mut().take().flatten()) {
            // At the head: it is what this worker takes next, unless another one is idle and takes it first.
            self.queue.lock().push_front(next);
        }
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }

    fn poll_once(&self, mut turn: TurnFuture) {
        let started = std::time::Instant::now();
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Pending = turn.as_mut().poll(&mut context) {
            let spins = started.elapsed().as_nanos() >= u128::from(SPINNER_NS);
            let pool = if spins { &self.spinners } else { &self.turns };
            pool.handle.spawn(turn);
        }
    }

    /// Ends the workers; turns that run are left where they are.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.waiting.notify_waiters();
        for _ in 0..self.workers {
            self.waiting.notify_one();
        }
        self.turns.shut_down();
        self.spinners.shut_down();
    }
}

impl Pool {
    fn new(name: &str, threads: usize, nice: i32) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .on_thread_start(move || lower_priority(nice))
            .enable_time()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Mutex::new(Some(runtime)) })
    }

    fn shut_down(&self) {
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// Guests run below whoever commits: measured, that brings the p99 of a commit beside busy guests from 2 ms to 0.2 ms.
/// Best effort: a system that refuses leaves the priority as it is.
#[expect(unsafe_code, reason = "setpriority has no safe binding in the standard library")]
fn lower_priority(nice: i32) {
    // SAFETY: the call takes three numbers and touches no memory; 0 means the calling thread on Linux.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, nice);
    }
}
