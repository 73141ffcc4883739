//! A child in the tree: its state, and for a supervisor what it is doing. Nothing is decided here.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use crate::exit::ExitReason;
use crate::name::Name;
use crate::spec::{AgentSpec, Restart, Shutdown};

use super::plan::{Plan, SupervisorPlan};
use super::policy::Window;

/// The number of a child, agent or supervisor, in its tree. Never means another child: when a place is used again,
/// its generation differs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl fmt::Debug for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// What a child is doing, as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It does not run and nothing is about to start it.
    Resting,
    /// It is started for the first time, or by a call.
    Starting,
    /// It runs.
    Running,
    /// It ended or failed to start, and will be started again. OTP: `restarting`.
    Restarting,
    /// It was told to stop.
    Stopping,
}

impl Status {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Resting => "resting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
        }
    }
}

/// Why a child is started: it decides what a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its supervisor starts: the supervisor fails with it.
    Init,
    /// `start_child`: the spec is removed.
    Added,
    /// `restart_child`: it stays at rest.
    Asked,
    /// A restart: it is tried again, and counts again.
    Again,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Does not run.
    Resting,
    /// A call for its start waits in the inbox.
    Asked(Why),
    /// Will be started by what its supervisor is doing.
    Due(Why),
    Starting(Why),
    Running,
    /// Ended by itself; its supervisor has not looked at it yet.
    Ended(ExitReason),
    /// To be started again when its supervisor looks at it.
    Retry {
        /// Whether this restart is counted already: then only its wait was awaited.
        counted: bool,
    },
    /// Waits for its restart, by back-off. The restart is counted.
    Waiting {
        until_ns: u64,
    },
    Stopping,
}

impl State {
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Resting => Status::Resting,
            Self::Asked(_) | Self::Due(Why::Init | Why::Added | Why::Asked) => Status::Starting,
            Self::Starting(Why::Init | Why::Added | Why::Asked) => Status::Starting,
            Self::Running => Status::Running,
            Self::Due(Why::Again) | Self::Starting(Why::Again) => Status::Restarting,
            Self::Ended(_) | Self::Retry { .. } | Self::Waiting { .. } => Status::Restarting,
            Self::Stopping => Status::Stopping,
        }
    }

    /// Whether something runs that would have to be stopped.
    pub(super) fn is_active(&self) -> bool {
        matches!(self, Self::Starting(_) | Self::Running | Self::Stopping)
    }

    /// Whether OTP would see a pid or `restarting`, not `undefined`.
    fn is_live(&self) -> bool {
        !matches!(self, Self::Resting | Self::Asked(_))
    }

    /// What counts of it.
    pub(super) fn count(&self, significant: bool) -> Tally {
        Tally {
            starting: matches!(self, Self::Starting(_)).into(),
            running: matches!(self, Self::Running).into(),
            stopping: matches!(self, Self::Stopping).into(),
            significant: (significant && self.is_live()).into(),
        }
    }
}

/// Where a spec comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// From the spec of its supervisor: comes back with it.
    Declared,
    /// From `start_child`: gone with it.
    Added,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Name,
    /// None: the root.
    pub(super) parent: Option<ChildId>,
    /// Its place among its siblings.
    pub(super) position: u64,
    pub(super) origin: Origin,
    pub(super) state: State,
    pub(super) restart: Restart,
    pub(super) significant: bool,
    pub(super) shutdown: Shutdown,
    /// Whether it is in its supervisor's inbox.
    pub(super) noted: bool,
    /// Its place in its supervisor's queue of starts, while it is in there.
    pub(super) ticket: Option<u64>,
    /// `terminate_child` was called and is not done.
    pub(super) stop_wanted: bool,
    /// A call waits for this child to run or to rest.
    pub(super) called: bool,
    /// Waits in a row, for the back-off.
    pub(super) streak: u32,
    /// When it last came to run.
    pub(super) started_ns: u64,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Agent(Arc<AgentSpec>),
    Supervisor(Box<Supervisor>),
}

impl Node {
    pub(super) fn new(plan: &Plan, parent: Option<ChildId>, position: u64, origin: Origin) -> Self {
        let (restart, significant, shutdown, kind) = match plan {
            Plan::Agent(spec) => (spec.restart, spec.significant, spec.shutdown, Kind::Agent(Arc::clone(spec))),
            Plan::Supervisor(plan) => {
                let kind = Kind::Supervisor(Box::new(Supervisor::new(Arc::clone(plan))));
                (plan.restart, plan.significant, plan.shutdown, kind)
            }
        };
        Self {
            name: plan.name().clone(),
            parent,
            position,
            origin,
            state: State::Resting,
            restart,
            significant,
            shutdown,
            noted: false,
            ticket: None,
            stop_wanted: false,
            called: false,
            streak: 0,
            started_ns: 0,
            kind,
        }
    }
}

#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) plan: Arc<SupervisorPlan>,
    /// By place, in start order.
    pub(super) children: BTreeMap<u64, ChildId>,
    /// Where the next child that is added goes.
    pub(super) next_position: u64,
    pub(super) op: Op,
    /// Children that are due, in the order of their tickets.
    pub(super) starts: BTreeMap<u64, ChildId>,
    pub(super) next_ticket: u64,
    /// Children to be looked at, in the order in which something happened to them. Each at most once.
    pub(super) inbox: VecDeque<ChildId>,
    pub(super) window: Window,
    pub(super) tally: Tally,
    /// Children that are supervisors.
    pub(super) supervisors: u32,
    /// What it fails with, if it ends before it ran.
    pub(super) failure: Option<ExitReason>,
    /// It is being killed: everything below it at once.
    pub(super) brutal: bool,
    /// When it will be.
    pub(super) kill_at_ns: Option<u64>,
}

impl Supervisor {
    fn new(plan: Arc<SupervisorPlan>) -> Self {
        Self {
            next_position: plan.children.len() as u64,
            plan,
            children: BTreeMap::new(),
            op: Op::Down,
            starts: BTreeMap::new(),
            next_ticket: 0,
            inbox: VecDeque::new(),
            window: Window::default(),
            tally: Tally::default(),
            supervisors: 0,
            failure: None,
            brutal: false,
            kill_at_ns: None,
        }
    }

    /// Whether it can look at what happened. A supervisor of a group does one thing at a time, as in OTP.
    pub(super) fn is_free(&self) -> bool {
        let quiet = self.starts.is_empty() && self.tally.starting == 0 && self.tally.stopping == 0;
        self.op == Op::Idle && (quiet || !self.plan.policy.is_grouped())
    }

    /// Whether it runs or will.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.op, Op::Down | Op::Stop(Stop { then: Then::End, .. }))
    }

    /// The next child to be started, if one more may be starting.
    pub(super) fn next_start(&self, concurrency_max: u32) -> Option<ChildId> {
        let starting_max = if self.plan.policy.is_grouped() { 1 } else { concurrency_max };
        if self.tally.starting < starting_max { self.starts.values().next().copied() } else { None }
    }
}

/// What a supervisor is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// It does not run.
    Down,
    /// Its children are started with it.
    Init,
    /// Nothing.
    Idle,
    /// It stops children, to end or to start them again.
    Stop(Stop),
    /// It starts the children of a restarted group.
    Regroup,
}

/// Stopping the children at the places `floor..cursor`, from the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) floor: u64,
    /// All at or right of it are done with.
    pub(super) cursor: u64,
    pub(super) then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The supervisor ends.
    End,
    /// The group of this child, whose end was the cause, is started.
    Restart(ChildId),
}

/// How many children are in which state, so that nothing has to be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) starting: u32,
    pub(super) running: u32,
    pub(super) stopping: u32,
    /// Significant ones that run or will.
    pub(super) significant: u32,
}

impl Tally {
    pub(super) fn active(&self) -> u32 {
        self.starting + self.running + self.stopping
    }

    /// One child less of `old` and one more of `new`.
    pub(super) fn change(&mut self, old: Self, new: Self) {
        self.starting = self.starting + new.starting - old.starting;
        self.running = self.running + new.running - old.running;
        self.stopping = self.stopping + new.stopping - old.stopping;
        self.significant = self.significant + new.significant - old.significant;
    }
}
