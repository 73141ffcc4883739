//! What waits for its commit, and what goes into one together. Never a write of its own, and never a decision about what
//! failed.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use skep_store::{Commit, Sync, Write};

use crate::cell::Cell;
use crate::commit::{CommitFailed, Job, Released};

/// Writes of one group at most: it bounds how long the first of them waits for the last.
const GROUP_WRITES_MAX: usize = 4_096;

/// What nobody waits for, while the store takes nothing: beyond it the newest is given up.
pub(crate) const LATER_WRITES_MAX: usize = 65_536;
pub(crate) const LATER_BYTES_MAX: usize = 64 << 20;

/// What waits for its commit, in order.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) jobs: VecDeque<Queued>,
    /// What of it nobody waits for.
    pub(crate) later: Load,
}

impl Queue {
    /// What goes into the next commit.
    pub(crate) fn take_group(&mut self) -> Vec<Queued> {
        let mut writes = 0;
        let mut jobs = Vec::new();
        while writes < GROUP_WRITES_MAX
            && let Some(job) = self.jobs.pop_front_if(|job| jobs.is_empty() || !job.is_alone())
        {
            writes += job.writes().max(1);
            let alone = job.is_alone();
            jobs.push(job);
            if alone {
                break;
            }
        }
        jobs
    }
}

/// How much it is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Load {
    pub(crate) writes: usize,
    bytes: usize,
}

impl Load {
    pub(crate) fn of(writes: &[Write]) -> Self {
        let bytes_of = |write: &Write| match write {
            Write::PutMessage { message, .. } => message.weight_bytes(),
            Write::Put { key, value, .. } => key.len() + value.len(),
            Write::Delete { key, .. } => key.len(),
            Write::TakeMessage { .. } | Write::DeleteAll { .. } => 0,
        };
        Self { writes: writes.len(), bytes: writes.iter().map(bytes_of).sum() }
    }

    pub(crate) fn has_room_for(self, more: Self) -> bool {
        self.writes + more.writes <= LATER_WRITES_MAX && self.bytes + more.bytes <= LATER_BYTES_MAX
    }

    pub(crate) fn add(&mut self, more: Self) {
        self.writes += more.writes;
        self.bytes += more.bytes;
    }

    pub(crate) fn take(&mut self, less: Self) {
        self.writes -= less.writes;
        self.bytes -= less.bytes;
    }
}

pub(crate) enum Queued {
    /// Somebody is told what became of it.
    Job(Job),
    /// Nobody waits for it. With `alone` it is in no group: the store may have refused one for its sake.
    Later { writes: Vec<Write>, alone: bool },
}

impl Queued {
    fn writes(&self) -> usize {
        match self {
            Self::Job(job) => job.writes.len(),
            Self::Later { writes, .. } => writes.len(),
        }
    }

    fn is_alone(&self) -> bool {
        matches!(self, Self::Later { alone: true, .. })
    }
}

/// What goes into one commit.
pub(crate) struct Group {
    pub(crate) commit: Commit,
    pub(crate) dones: Vec<Released>,
    /// The agents of its turns, with their counts of undoings.
    pub(crate) cells: Vec<(Arc<Cell>, u32)>,
    /// Where in the commit the writes are that nobody waits for.
    pub(crate) later: Vec<Range<usize>>,
    pub(crate) alone: bool,
}

impl Group {
    pub(crate) fn of(jobs: Vec<Queued>) -> Self {
        let commit = Commit { writes: Vec::new(), sync: Sync::Process };
        let (dones, cells, later) = (Vec::new(), Vec::new(), Vec::new());
        let mut group = Self { commit, dones, cells, later, alone: jobs.first().is_some_and(Queued::is_alone) };
        for job in jobs {
            match job {
                Queued::Job(job) => group.add(job),
                Queued::Later { mut writes, .. } => {
                    let from = group.commit.writes.len();
                    group.later.push(from..from + writes.len());
                    group.commit.writes.append(&mut writes);
                }
            }
        }
        group
    }

    fn add(&mut self, mut job: Job) {
        let void = job.void.as_ref().is_some_and(|(cell, undoings)| cell.undoings.load(Ordering::Acquire) != *undoings);
        if void {
            return self.dones.push((job.done, Err(CommitFailed::Undone)));
        }
        self.commit.sync = self.commit.sync.max(job.sync);
        self.commit.writes.append(&mut job.writes);
        self.cells.extend(job.void);
        self.dones.push((job.done, Ok(())));
    }

    pub(crate) fn later(&self) -> impl DoubleEndedIterator<Item = &[Write]> {
        self.later.iter().map(|at| self.commit.writes.get(at.clone()).unwrap_or_default())
    }
}
