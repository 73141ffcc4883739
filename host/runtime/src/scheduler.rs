//! Who runs next. Runnable agents wait in one queue; a worker takes one, runs its turn where it stands, and hands it to
//! the pool only if it has to wait. An idle agent costs nothing here.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Handle, Runtime};

use crate::cell::Cell;

/// Turns in a row that a worker runs of what its own turns have woken, before it looks at the queue.
const TURNS_IN_A_ROW_MAX: u32 = 16;
/// How far turns, and spinners, are below the priority of whoever commits.
const TURNS_NICE: i32 = 5;
const SPINNERS_NICE: i32 = 15;

/// Runs one turn of an agent, as far as it goes on this thread.
pub(crate) type RunTurn = dyn Fn(&Arc<Cell>) + Send + Sync;

/// See the module.
pub(crate) struct Scheduler {
    queue: Mutex<Queue>,
    filled: Condvar,
    /// Where turns go on that have to wait, and whatever else has to.
    turns: Pool,
    /// Where turns go on that have used a whole tick, so that spinners compete with spinners.
    spinners: Pool,
    workers: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The priority of the process.
    base: i32,
}

#[derive(Default)]
struct Queue {
    cells: VecDeque<Arc<Cell>>,
    /// Workers that wait for the queue to be filled.
    idle: usize,
    /// One of them was woken and is not here yet: it wakes the next one itself.
    waking: bool,
    stopped: bool,
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
        let base = priority();
        Ok(Self {
            queue: Mutex::default(),
            filled: Condvar::new(),
            turns: Pool::new("skep-wait", workers, base + TURNS_NICE)?,
            spinners: Pool::new("skep-spin", workers, base + SPINNERS_NICE)?,
            workers,
            threads: Mutex::default(),
            base,
        })
    }

    /// Starts the workers.
    pub(crate) fn start(self: &Arc<Self>, run: &Arc<RunTurn>) -> std::io::Result<()> {
        for _ in 0..self.workers {
            let (scheduler, run) = (self.clone(), run.clone());
            let thread = std::thread::Builder::new().name("skep-turn".to_owned());
            self.threads.lock().push(thread.spawn(move || scheduler.work(&*run))?);
        }
        Ok(())
    }

    /// The pool for what has to wait: starts, stops, swaps.
    pub(crate) fn handle(&self) -> &Handle {
        &self.turns.handle
    }

    /// Whether nobody else has anything to run now.
    pub(crate) fn is_quiet(&self) -> bool {
        let mine = NEXT.with(|next| next.borrow().as_ref().map(Option::is_none));
        let queue = self.queue.lock();
        let others = self.workers - usize::from(mine.is_some());
        mine != Some(false) && queue.cells.is_empty() && queue.idle >= others
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
            let mut queue = self.queue.lock();
            queue.cells.push_back(cell);
            self.wake_one(&mut queue);
        }
    }

    /// Wakes an idle worker, unless one is on its way.
    fn wake_one(&self, queue: &mut Queue) {
        if queue.idle > 0 && !queue.waking {
            queue.waking = true;
            self.filled.notify_one();
        }
    }

    fn work(&self, run: &RunTurn) {
        lower_priority(self.base + TURNS_NICE);
        let _inside = self.turns.handle.enter();
        NEXT.with(|next| *next.borrow_mut() = Some(None));
        let mut in_a_row = 0;
        while let Some(cell) = self.next(&mut in_a_row) {
            // A panic is a defect of the host: it costs the turn, and not the worker.
            let _ = std::panic::catch_unwind(AssertUnwindSafe(|| run(&cell)));
        }
    }

    /// What this worker runs next; none at the end of the host.
    fn next(&self, in_a_row: &mut u32) -> Option<Arc<Cell>> {
        let own = NEXT.with(|next| next.borrow_mut().as_mut().and_then(Option::take));
        if own.is_some() && *in_a_row < TURNS_IN_A_ROW_MAX {
            *in_a_row += 1;
            return own;
        }
        *in_a_row = 0;
        let mut queue = self.queue.lock();
        queue.cells.extend(own);
        loop {
            if queue.stopped {
                return None;
            }
            if let Some(cell) = queue.cells.pop_front() {
                if !queue.cells.is_empty() {
                    self.wake_one(&mut queue);
                }
                return Some(cell);
            }
            queue.idle += 1;
            self.filled.wait(&mut queue);
            queue.idle -= 1;
            queue.waking = false;
        }
    }

    /// Runs a turn on this thread, which is no worker. What of it has to wait goes on in the pool, so the caller may be
    /// dropped at any time.
    pub(crate) fn run_here(&self, turn: impl FnOnce()) {
        let _inside = self.turns.handle.enter();
        turn();
    }

    /// Goes on with a turn that has to wait.
    pub(crate) fn go_on(&self, spins: bool, turn: impl Future<Output = ()> + Send + 'static) {
        let pool = if spins { &self.spinners } else { &self.turns };
        pool.handle.spawn(turn);
    }

    /// Ends the workers after the turns that they run; those that wait are left where they are.
    pub(crate) fn stop(&self) {
        self.queue.lock().stopped = true;
        self.filled.notify_all();
        // A worker cannot wait for its own end.
        let me = std::thread::current().id();
        for thread in std::mem::take(&mut *self.threads.lock()).into_iter().filter(|thread| thread.thread().id() != me)
        {
            // One that has panicked has ended too.
            let _ = thread.join();
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

/// The priority of this thread, which those that are made for turns are below.
#[expect(unsafe_code, reason = "getpriority has no safe binding in the standard library")]
fn priority() -> i32 {
    // SAFETY: the call takes two numbers and touches no memory; 0 means the calling thread on Linux.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
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
