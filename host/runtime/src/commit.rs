//! The commit pipeline: turns of all agents are grouped into one commit of the store, and what they ask for is let out
//! afterwards, in the order of the commits.
//!
//! Whoever holds the writer's place drains the queue. That is the writer's thread, or, if nobody else waits, the thread
//! of the turn itself: a lone durable ask then costs no change of threads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};
use skep_core::Seq;
use skep_store::{Commit, Error as StoreError, Store, Sync, Write};

use crate::cell::Cell;

/// Writes of one group at most: it bounds how long the first of them waits for the last.
const GROUP_WRITES_MAX: usize = 4_096;

/// The pause after a commit that failed: twice as long after each one that follows.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What happens after the commit.
pub(crate) type Done = Box<dyn FnOnce(Result<(), CommitFailed>) + Send>;

/// The commit did not happen; what it was for is to be undone.
#[derive(Clone, Debug)]
pub(crate) struct CommitFailed {
    pub(crate) detail: String,
    /// Nothing more can be written until the host is started again.
    pub(crate) fatal: bool,
    /// The disk is full, and what the system said.
    pub(crate) no_room: Option<String>,
}

impl CommitFailed {
    fn of(error: &StoreError) -> Self {
        let no_room = if let StoreError::NoRoom(text) = error { Some(text.clone()) } else { None };
        Self { detail: error.to_string(), fatal: matches!(error, StoreError::Fatal(_)), no_room }
    }

    /// For whoever waits for the commit.
    pub(crate) fn into_error(self) -> StoreError {
        match self.no_room {
            Some(text) => StoreError::NoRoom(text),
            None if self.fatal => StoreError::Fatal(self.detail),
            None => StoreError::Invalid(self.detail),
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

type Released = (Done, Result<(), CommitFailed>);

/// See the module.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    next_row: AtomicU64,
}

struct Shared {
    /// None once the host has stopped: then the directory is free.
    store: RwLock<Option<Arc<dyn Store>>>,
    queue: Mutex<VecDeque<Job>>,
    filled: Condvar,
    writer: Mutex<()>,
    released: Mutex<VecDeque<Released>>,
    releasable: Condvar,
    releaser: Mutex<()>,
    stopped: AtomicBool,
    /// The last commit has failed: the next ones are the writer's, which pauses before them.
    failing: AtomicBool,
    pausing: Mutex<()>,
    resumed: Condvar,
    commits: AtomicU64,
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
            failing: AtomicBool::new(false),
            pausing: Mutex::new(()),
            resumed: Condvar::new(),
            commits: AtomicU64::new(0),
        });
        let spawn = |name: &str, body: fn(&Shared)| {
            let shared = shared.clone();
            std::thread::Builder::new().name(name.to_owned()).spawn(move || body(&shared))
        };
        let threads = vec![spawn("skep-commit", Shared::write_loop)?, spawn("skep-release", Shared::release_loop)?];
        Ok(Self { shared, threads: Mutex::new(threads), next_row: AtomicU64::new(next_row) })
    }

    /// The next place in the hive's order. Taken while a turn is sealed, so the rows of one sender ascend.
    pub(crate) fn next_row(&self) -> Seq {
        Seq(self.next_row.fetch_add(1, Ordering::Relaxed))
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

    /// Takes a job's place in the order. `drive` must follow.
    pub(crate) fn queue(&self, job: Job) {
        self.shared.queue.lock().push_back(job);
    }

    /// Has the queue committed. With `alone`, this thread does it if nobody else is at it.
    pub(crate) fn drive(&self, alone: bool) {
        let shared = &self.shared;
        if alone
            && !shared.failing.load(Ordering::Relaxed)
            && let Some(place) = shared.writer.try_lock()
        {
            shared.write_group();
            drop(place);
            shared.release_all();
            if shared.queue.lock().is_empty() {
                return;
            }
        }
        shared.filled.notify_one();
    }

    /// Ends the threads after everything in the queue is committed and released.
    pub(crate) fn stop(&self) {
        {
            // Under the lock: the writer either sees it, or waits already and hears of it.
            let _queue = self.shared.queue.lock();
            self.shared.stopped.store(true, Ordering::SeqCst);
        }
        self.shared.filled.notify_all();
        self.shared.resumed.notify_all();
        let mut threads = std::mem::take(&mut *self.threads.lock()).into_iter();
        // The releaser ends after the writer, so that nothing that was committed is kept back.
        if let Some(writer) = threads.next() {
            let _ = writer.join();
        }
        self.shared.releasable.notify_all();
        if let Some(releaser) = threads.next() {
            let _ = releaser.join();
        }
        // Whoever else still holds the hive keeps the directory from nobody.
        drop(self.shared.store.write().take());
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // The last owner may be one of the two threads itself, which cannot wait for its own end.
        let me = std::thread::current().id();
        self.threads.lock().retain(|thread| thread.thread().id() != me);
        self.stop();
    }
}

impl Shared {
    fn write_loop(&self) {
        let mut pause = PAUSE_MIN;
        loop {
            let mut queue = self.queue.lock();
            while queue.is_empty() {
                if self.stopped.load(Ordering::SeqCst) {
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
        if !self.stopped.load(Ordering::SeqCst) {
            self.resumed.wait_for(&mut pausing, time);
        }
    }

    fn release_loop(&self) {
        loop {
            let mut released = self.released.lock();
            while released.is_empty() {
                // The writer has ended before: what is not here now never comes.
                if self.stopped.load(Ordering::SeqCst) && self.queue.lock().is_empty() {
                    return;
                }
                self.releasable.wait_for(&mut released, Duration::from_millis(100));
            }
            drop(released);
            self.release_all();
        }
    }

    /// Commits one group from the head of the queue. The caller holds the writer's place.
    fn write_group(&self) {
        let jobs = self.take_group();
        if jobs.is_empty() {
            return;
        }
        let mut commit = Commit { writes: Vec::new(), sync: Sync::Process };
        let (mut dones, mut cells) = (Vec::new(), Vec::new());
        for job in jobs {
            let void =
                job.void.as_ref().is_some_and(|(cell, undoings)| cell.undoings.load(Ordering::Acquire) != *undoings);
            if void {
                let undone =
                    CommitFailed { detail: "an earlier turn was undone".to_owned(), fatal: false, no_room: None };
                dones.push((job.done, Err(undone)));
                continue;
            }
            commit.sync = commit.sync.max(job.sync);
            commit.writes.extend(job.writes);
            cells.extend(job.void);
            dones.push((job.done, Ok(())));
        }
        let result = self.write(&commit);
        self.commits.fetch_add(1, Ordering::Relaxed);
        let failed = result.err().map(|error| CommitFailed::of(&error));
        self.failing.store(failed.is_some(), Ordering::Relaxed);
        if failed.is_some() {
            // Before the next group is written: what follows a turn that did not happen must not happen either.
            for (cell, undoings) in cells {
                let _ = cell.undoings.compare_exchange(undoings, undoings + 1, Ordering::AcqRel, Ordering::Acquire);
            }
        }
        let mut released = self.released.lock();
        released.extend(dones.into_iter().map(|(done, fate)| {
            let fate = fate.and_then(|()| failed.clone().map_or(Ok(()), Err));
            (done, fate)
        }));
    }

    fn write(&self, commit: &Commit) -> Result<(), StoreError> {
        if commit.writes.is_empty() {
            return Ok(());
        }
        match &*self.store.read() {
            Some(store) => store.commit(commit),
            None => Err(StoreError::Fatal("the host has stopped".to_owned())),
        }
    }

    fn take_group(&self) -> Vec<Job> {
        let mut queue = self.queue.lock();
        let mut writes = 0;
        let mut jobs = Vec::new();
        while writes < GROUP_WRITES_MAX
            && let Some(job) = queue.pop_front()
        {
            writes += job.writes.len().max(1);
            jobs.push(job);
        }
        jobs
    }

    /// Lets out what is committed, in order: one thread at a time, and whoever comes second leaves it to the first.
    fn release_all(&self) {
        loop {
            let Some(_place) = self.releaser.try_lock() else { return };
            loop {
                let Some((done, fate)) = self.released.lock().pop_front() else { break };
                done(fate);
            }
            drop(_place);
            if self.released.lock().is_empty() {
                return;
            }
        }
    }
}
