//! The commit pipeline: turns of all agents are grouped into one commit of the store, and what they ask for is let out
//! afterwards, in the order of the commits.
//!
//! Whoever holds the writer's place drains the queue. That is the writer's thread, or, if nobody else waits, the thread
//! of the turn itself: a lone durable ask then costs no change of threads.
//!
//! What nobody waits for comes again, in its place, for as long as the store says that there is no room; it is never
//! lost without a word.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};
use skep_core::Seq;
use skep_core::name::shown;
use skep_store::{Commit, Error as StoreError, Store, Sync, Write};

use crate::cell::Cell;
use crate::group::{Group, LATER_BYTES_MAX, LATER_WRITES_MAX, Load, Queue, Queued};

/// The text of a panic, in characters.
const PANIC_CHARS_MAX: usize = 256;

/// The pause after a commit that failed: twice as long after each one that follows.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What happens after the commit.
pub(crate) type Done = Box<dyn FnOnce(Result<(), CommitFailed>) + Send>;

/// The commit did not happen; what it was for is to be undone.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CommitFailed {
    #[error(transparent)]
    Store(StoreError),
    #[error("an earlier turn was undone")]
    Undone,
    /// There is no store any more.
    #[error("the host has stopped")]
    Stopped,
}

impl CommitFailed {
    /// Whether nothing more can be written until the host is started again.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self, Self::Store(StoreError::Fatal(_)))
    }

    /// Whether the same commit may well stand later: it is not what is wrong.
    fn passes(&self) -> bool {
        matches!(self, Self::Store(StoreError::NoRoom(_) | StoreError::Locked { .. }))
    }

    /// For whoever waits for the commit.
    pub(crate) fn into_error(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Undone => StoreError::Invalid(self.to_string()),
            Self::Stopped => StoreError::Fatal(self.to_string()),
        }
    }
}

/// A turn's part of a commit.
pub(crate) struct Job {
    pub(crate) writes: Vec<Write>,
    pub(crate) sync: Sync,
    /// The agent of the turn and its count of undoings then: if it has changed, an earlier turn was undone, and this
    /// job is void.
    pub(crate) void: Option<(Arc<Cell>, u32)>,
    pub(crate) done: Done,
}

/// What the hive must hear of, whoever waits for the commit.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// Nothing more can be written; what the store said.
    Fatal(String),
    /// What follows a commit has panicked, so that an agent is now in no state at all; what it said.
    Panicked(String),
    /// So many writes that nobody waits for are lost, and why.
    GivenUp(usize, String),
}

type Watcher = Box<dyn Fn(Trouble) + Send + std::marker::Sync>;
pub(crate) type Released = (Done, Result<(), CommitFailed>);

/// See the module.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    threads: Mutex<Threads>,
    next_row: AtomicU64,
}

/// The two threads, as long as nobody has waited for their ends.
#[derive(Default)]
struct Threads {
    writer: Option<JoinHandle<()>>,
    releaser: Option<JoinHandle<()>>,
}

struct Shared {
    /// None once the host has stopped: then the directory is free.
    store: RwLock<Option<Arc<dyn Store>>>,
    queue: Mutex<Queue>,
    filled: Condvar,
    writer: Mutex<()>,
    released: Mutex<VecDeque<Released>>,
    releasable: Condvar,
    releaser: Mutex<()>,
    stopped: AtomicBool,
    /// The writer's thread has ended after that, so that the releaser's may.
    written: AtomicBool,
    /// The last commit has failed: the next ones are the writer's, which pauses before them.
    failing: AtomicBool,
    pausing: Mutex<()>,
    resumed: Condvar,
    commits: AtomicU64,
    watcher: OnceLock<Watcher>,
}

impl Committer {
    pub(crate) fn new(store: Arc<dyn Store>, next_row: u64) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            store: RwLock::new(Some(store)),
            queue: Mutex::default(),
            filled: Condvar::new(),
            writer: Mutex::new(()),
            released: Mutex::default(),
            releasable: Condvar::new(),
            releaser: Mutex::new(()),
            stopped: AtomicBool::new(false),
            written: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            pausing: Mutex::new(()),
            resumed: Condvar::new(),
            commits: AtomicU64::new(0),
            watcher: OnceLock::new(),
        });
        let spawn = |name: &str, body: fn(&Shared)| {
            let shared = shared.clone();
            std::thread::Builder::new().name(name.to_owned()).spawn(move || body(&shared))
        };
        let writer = Some(spawn("skep-commit", Shared::write_loop)?);
        let releaser = Some(spawn("skep-release", Shared::release_loop)?);
        let threads = Threads { writer, releaser };
        Ok(Self { shared, threads: Mutex::new(threads), next_row: AtomicU64::new(next_row) })
    }

    /// Who hears of troubles, on any thread. The first one stays.
    pub(crate) fn watch(&self, watcher: impl Fn(Trouble) + Send + std::marker::Sync + 'static) {
        let _ = self.shared.watcher.set(Box::new(watcher));
    }

    /// The next place in the hive's order. Taken while a turn is sealed, so the rows of one sender ascend.
    pub(crate) fn next_row(&self) -> Seq {
        Seq(self.next_row.fetch_add(1, Ordering::Relaxed))
    }

    /// The last row that was given.
    pub(crate) fn last_row(&self) -> u64 {
        self.next_row.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// From here on rows are at least this one.
    pub(crate) fn rows_from(&self, first: u64) {
        self.next_row.fetch_max(first, Ordering::Relaxed);
    }

    /// Commits so far.
    pub(crate) fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    /// The store; none once the host has stopped.
    pub(crate) fn store(&self) -> Option<Arc<dyn Store>> {
        self.shared.store.read().clone()
    }

    /// Queues a job and sees to it that it is committed.
    pub(crate) fn submit(&self, job: Job, alone: bool) {
        self.queue(job);
        self.drive(alone);
    }

    /// Queues writes that nobody waits for, and sees to it that they stand some day.
    pub(crate) fn submit_later(&self, writes: Vec<Write>) {
        let load = Load::of(&writes);
        let mut queue = self.shared.queue.lock();
        if self.shared.failing.load(Ordering::Relaxed) && !queue.later.has_room_for(load) {
            drop(queue);
            let why = format!("more than {LATER_WRITES_MAX} writes or {LATER_BYTES_MAX} bytes wait for the store");
            return self.shared.report(Trouble::GivenUp(load.writes, why));
        }
        queue.later.add(load);
        queue.jobs.push_back(Queued::Later { writes, alone: false });
        drop(queue);
        // Never done here, not even after the writer's end: the caller may hold what a release takes.
        self.shared.filled.notify_one();
    }

    /// Takes a job's place in the order. `drive` must follow.
    pub(crate) fn queue(&self, job: Job) {
        self.shared.queue.lock().jobs.push_back(Queued::Job(job));
    }

    /// Has the queue committed. With `alone`, this thread does it if nobody else is at it.
    pub(crate) fn drive(&self, alone: bool) {
        let shared = &self.shared;
        if shared.is_stopped() {
            return shared.finish();
        }
        if alone
            && !shared.failing.load(Ordering::Relaxed)
            && let Some(place) = shared.writer.try_lock()
        {
            shared.write_group();
            drop(place);
            shared.release_all();
            if shared.queue.lock().jobs.is_empty() {
                return;
            }
        }
        shared.filled.notify_one();
    }

    /// Ends the threads after everything in the queue is committed and released. What comes later is told so.
    pub(crate) fn stop(&self) {
        self.join();
        // What the last releases have queued.
        self.shared.finish();
        self.shared.close();
    }

    fn join(&self) {
        {
            // Under the lock: the writer either sees it, or waits already and hears of it.
            let _queue = self.shared.queue.lock();
            self.shared.stopped.store(true, Ordering::SeqCst);
        }
        self.shared.filled.notify_all();
        self.shared.resumed.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        // The last owner may be one of the two itself, which cannot wait for its own end.
        let me = std::thread::current().id();
        let ended = |thread: JoinHandle<()>| (thread.thread().id() != me).then(|| thread.join());
        threads.writer.and_then(ended);
        {
            // The releaser ends after the writer, so that nothing that was committed is kept back.
            let _released = self.shared.released.lock();
            self.shared.written.store(true, Ordering::SeqCst);
        }
        self.shared.releasable.notify_all();
        threads.releaser.and_then(ended);
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.join();
        self.shared.close();
    }
}

impl Shared {
    fn write_loop(&self) {
        let mut pause = PAUSE_MIN;
        loop {
            let mut queue = self.queue.lock();
            while queue.jobs.is_empty() {
                if self.is_stopped() {
                    return;
                }
                self.filled.wait(&mut queue);
            }
            drop(queue);
            let place = self.writer.lock();
            if self.failing.load(Ordering::Relaxed) {
                self.pause(pause);
                pause = (pause * 2).min(PAUSE_MAX);
            } else {
                pause = PAUSE_MIN;
            }
            self.write_group();
            drop(place);
            self.releasable.notify_one();
        }
    }

    /// A disk that was full a moment ago is full now: nobody runs against it without a pause.
    fn pause(&self, time: Duration) {
        let mut pausing = self.pausing.lock();
        if !self.is_stopped() {
            self.resumed.wait_for(&mut pausing, time);
        }
    }

    fn release_loop(&self) {
        loop {
            let mut released = self.released.lock();
            while released.is_empty() {
                // What is not here then never comes. What a release has queued since is for who stops the host.
                if self.written.load(Ordering::SeqCst) {
                    return;
                }
                self.releasable.wait(&mut released);
            }
            drop(released);
            self.release_all();
        }
    }

    /// Whoever else still holds the hive keeps the directory from nobody.
    fn close(&self) {
        drop(self.store.write().take());
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn report(&self, trouble: Trouble) {
        if let Some(watcher) = self.watcher.get() {
            watcher(trouble);
        }
    }

    /// The writer has ended, or is about to: whoever brings a job sees to it here.
    fn finish(&self) {
        loop {
            let place = self.writer.lock();
            self.write_group();
            drop(place);
            self.release_all();
            if self.queue.lock().jobs.is_empty() {
                return;
            }
        }
    }

    /// Commits one group from the head of the queue. The caller holds the writer's place.
    fn write_group(&self) {
        let jobs = self.queue.lock().take_group();
        if jobs.is_empty() {
            return;
        }
        let mut group = Group::of(jobs);
        let failed = self.write(&group.commit).err();
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.failing.store(failed.is_some(), Ordering::Relaxed);
        let dones = std::mem::take(&mut group.dones);
        match &failed {
            Some(failed) => self.failed(group, failed),
            None => self.settle_later(&group),
        }
        let mut released = self.released.lock();
        released.extend(dones.into_iter().map(|(done, fate)| {
            let fate = fate.and_then(|()| failed.clone().map_or(Ok(()), Err));
            (done, fate)
        }));
    }

    fn settle_later(&self, group: &Group) {
        if group.later.is_empty() {
            return;
        }
        let mut queue = self.queue.lock();
        for writes in group.later() {
            queue.later.take(Load::of(writes));
        }
    }

    fn failed(&self, group: Group, failed: &CommitFailed) {
        // Before the next group is written: what follows a turn that did not happen must not happen either.
        for (cell, undoings) in &group.cells {
            let next = undoings + 1;
            let _ = cell.undoings.compare_exchange(*undoings, next, Ordering::AcqRel, Ordering::Acquire);
        }
        if failed.is_fatal() {
            self.report(Trouble::Fatal(failed.to_string()));
        }
        // Of a store that refuses what is wrong, the one that is wrong is found by itself.
        let is_wrong = !failed.passes();
        if failed.is_fatal() || self.is_stopped() || (is_wrong && group.alone) {
            self.settle_later(&group);
            let writes = group.later().map(<[Write]>::len).sum();
            if writes > 0 {
                self.report(Trouble::GivenUp(writes, failed.to_string()));
            }
            return;
        }
        let mut queue = self.queue.lock();
        for writes in group.later().rev() {
            queue.jobs.push_front(Queued::Later { writes: writes.to_vec(), alone: is_wrong });
        }
    }

    fn write(&self, commit: &Commit) -> Result<(), CommitFailed> {
        if commit.writes.is_empty() {
            return Ok(());
        }
        let store = self.store.read();
        let Some(store) = &*store else { return Err(CommitFailed::Stopped) };
        let written = catch_unwind(AssertUnwindSafe(|| store.commit(commit)));
        written
            .unwrap_or_else(|panic| Err(StoreError::Fatal(format!("it has panicked: {}", panic_text(&*panic)))))
            .map_err(CommitFailed::Store)
    }

    /// Lets out what is committed, in order: one thread at a time, and whoever comes second leaves it to the first.
    fn release_all(&self) {
        loop {
            let Some(_place) = self.releaser.try_lock() else { return };
            loop {
                let Some((done, fate)) = self.released.lock().pop_front() else { break };
                // Whoever else waits must not wait for ever.
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| done(fate))) {
                    self.report(Trouble::Panicked(panic_text(&*panic)));
                }
            }
            drop(_place);
            if self.released.lock().is_empty() {
                return;
            }
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    shown(text.unwrap_or("without a word"), PANIC_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use skep_store::MemoryStore;

    use super::*;

    /// The committer and what its threads share are held by nobody else.
    const OWNERS_WITHOUT_WRITER: usize = 2;

    #[test]
    fn what_a_release_queues_after_the_writer_has_ended_keeps_the_stop_from_nothing() {
        let committer = Arc::new(Committer::new(Arc::new(MemoryStore::new()), 1).expect("threads"));
        let (is_at_it, at_it) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let later = Arc::downgrade(&committer);
        let done = Box::new(move |_| {
            let _ = is_at_it.send(());
            let _ = gone.recv();
            later.upgrade().expect("a committer").submit_later(vec![]);
        });
        committer.submit(Job { writes: vec![], sync: Sync::Process, void: None, done }, false);
        at_it.recv().expect("a release");
        let (has_stopped, stopped) = mpsc::channel();
        let stopping = committer.clone();
        std::thread::spawn(move || {
            stopping.stop();
            let _ = has_stopped.send(());
        });
        while Arc::strong_count(&committer.shared) > OWNERS_WITHOUT_WRITER {
            std::thread::yield_now();
        }
        go.send(()).expect("a release that waits");
        stopped.recv_timeout(Duration::from_secs(20)).expect("the stop's end");
    }
}
