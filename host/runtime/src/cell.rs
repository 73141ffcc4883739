//! The entry of one agent in the host's table: everything that outlives its instance. An idle agent is this and nothing
//! else: no task, no channel.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;
use skep_core::agent::{Agent, Gate};
use skep_core::ask::Asks;
use skep_core::event::AgentRef;
use skep_core::grant::Granted;
use skep_core::rate::Bucket;
use skep_core::spec::{AgentSpec, Budget, Durability, Shutdown};
use skep_core::supervision::ChildId;
use skep_core::timer::Fired;
use skep_core::turn::Profile;
use skep_core::{AgentId, Digest, ExitReason, Incarnation, Limit, Lineage, Message, Name, TurnId};
use tokio::sync::Notify;

use crate::bell::Bell;
use crate::events::Scene;
use crate::running::{Component, Running};
use crate::state::StateBook;
use crate::turn::Began;

/// Events in a second of what a guest can bring about in a loop: enough to see what is wrong, and too few to push out
/// everything else that is kept.
pub(crate) const NOTICES_PER_S_MAX: u64 = 16;

/// Who asked for an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) id: AgentId,
    /// The child ends with its parent, who is told of its end.
    pub(crate) owned: bool,
}

/// See the module.
pub(crate) struct Cell {
    pub(crate) id: AgentId,
    pub(crate) name: Name,
    pub(crate) lineage: Lineage,
    pub(crate) spec: AgentSpec,
    pub(crate) granted: Granted,
    pub(crate) supervisor: Name,
    pub(crate) parent: Option<Parent>,
    /// It is the manifest's; else it was added while a hive ran.
    pub(crate) declared: bool,
    /// What is decided about it.
    pub(crate) mind: Mutex<Mind>,
    /// Its instance, when no turn has it.
    pub(crate) instance: Mutex<Option<Running>>,
    /// The plugin that it runs.
    pub(crate) component: Mutex<Component>,
    /// Turns of an earlier count are void: a commit before them has failed.
    pub(crate) undoings: AtomicU32,
    /// Told when there may be room in the mailbox.
    pub(crate) room: Bell,
    /// Told when a turn or a commit of it has ended, or its gate has changed.
    pub(crate) changed: Bell,
    /// Told when the turn that runs is to be given up.
    pub(crate) cancel: Notify,
    /// Told when a stop that is under way is to be cut short.
    pub(crate) killed: Notify,
    /// Held by whoever starts, stops or swaps it.
    pub(crate) life: tokio::sync::Mutex<()>,
    /// What its supervisor has ordered and nobody has begun yet.
    pub(crate) orders: Mutex<Orders>,
    /// What it may still send and log in this second. Not the instance's: a new one starts with no more.
    pub(crate) rates: Mutex<Rates>,
    pub(crate) stats: Stats,
}

/// What an agent may do in a second.
pub(crate) struct Rates {
    out_messages: Bucket,
    out_bytes: Bucket,
    log_lines: Bucket,
    notices: Bucket,
}

/// What becomes of a line of a log.
pub(crate) enum Line {
    /// It is written, and so many before it were left out.
    Written { left_out: u64 },
    /// It is left out: the first one over this rate.
    OverRate(u64),
    /// It is left out too.
    LeftOut,
}

impl Rates {
    fn new(budget: &Budget) -> Self {
        Self {
            out_messages: Bucket::new(budget.out_messages_per_s_max.into()),
            out_bytes: Bucket::new(budget.out_bytes_per_s_max),
            log_lines: Bucket::new(budget.log_lines_per_s_max.into()),
            notices: Bucket::new(NOTICES_PER_S_MAX),
        }
    }

    /// Takes one message of this weight, or says which limit is in the way, and its value.
    pub(crate) fn take_message(&mut self, now_ns: u64, weight_bytes: usize) -> Option<(Limit, u64)> {
        if !self.out_messages.take(now_ns, 1) {
            return Some((Limit::OutMessagesPerS, self.out_messages.per_s_max()));
        }
        let fits = self.out_bytes.take(now_ns, weight_bytes as u64);
        (!fits).then(|| (Limit::OutBytesPerS, self.out_bytes.per_s_max()))
    }

    /// Takes one line, if there is one.
    pub(crate) fn take_line(&mut self, now_ns: u64) -> Line {
        if self.log_lines.take(now_ns, 1) {
            return Line::Written { left_out: self.log_lines.take_suppressed() };
        }
        if self.log_lines.suppressed() == 1 { Line::OverRate(self.log_lines.per_s_max()) } else { Line::LeftOut }
    }

    /// Takes one event of what a guest can bring about in a loop.
    pub(crate) fn take_notice(&mut self, now_ns: u64) -> bool {
        self.notices.take(now_ns, 1)
    }
}

/// Counted since the host started.
#[derive(Default)]
pub(crate) struct Stats {
    /// Messages of turns whose commit stands.
    pub(crate) handled: AtomicU64,
    pub(crate) turns: AtomicU64,
    pub(crate) turns_failed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) restarts: AtomicU64,
    pub(crate) undone: AtomicU64,
    pub(crate) memory_bytes: AtomicU64,
    /// Instances made, also those that a swap has only tried.
    pub(crate) instances: AtomicU32,
}

/// What its supervisor has ordered: performed one after the other, in order.
#[derive(Default)]
pub(crate) struct Orders {
    pub(crate) waiting: VecDeque<Order>,
    pub(crate) under_way: bool,
}

/// An order of the supervisor, or of an operator.
pub(crate) enum Order {
    /// Start it, and tell the tree under this number.
    Start(ChildId),
    /// Stop it, and tell the tree under this number.
    Stop(ChildId, ExitReason, Shutdown),
    /// A new instance, without the tree being told.
    Renew(tokio::sync::oneshot::Sender<Result<(), ExitReason>>),
    /// It is at rest or gone: its mailbox becomes dead letters.
    Finish {
        /// Its entry goes too.
        gone: bool,
        /// The whole hive goes down: nothing becomes a dead letter.
        keep: bool,
    },
}

/// What is decided about an agent.
pub(crate) struct Mind {
    pub(crate) agent: Agent,
    pub(crate) asks: Asks,
    pub(crate) state: StateBook,
    pub(crate) profile: Profile,
    /// Timers a firing of which waits in the mailbox, and the one firing that comes after it, with the ticks between.
    pub(crate) firings: HashMap<Name, Option<Fired>>,
    /// Its first start has been committed: it never sees `fresh` again.
    pub(crate) started: bool,
    /// Of the instance that serves.
    pub(crate) incarnation: Incarnation,
    /// Its record in the store says other than it is: that it has ended, or who has declared it.
    pub(crate) unrecorded: bool,
    /// The digest of the plugin that its state was last written by.
    pub(crate) ran: Option<Digest>,
    /// It was swapped alone and does not run what its plugin is.
    pub(crate) alone: bool,
    /// Its instance is dropped to save memory.
    pub(crate) passive: bool,
    pub(crate) degraded: Option<String>,
    pub(crate) failing: Option<String>,
    pub(crate) exit: Option<ExitReason>,
    /// It is at rest and holds no timer and no subscription any more.
    pub(crate) let_go: bool,
    /// An exit that was asked for while it started or was swapped.
    pub(crate) exit_wanted: Option<ExitReason>,
    /// Timers that an uncommitted turn has set or cancelled, and which turn.
    pub(crate) timers_pending: HashMap<Name, TurnId>,
    /// What it is to end with when its supervisor stops it at another agent's word.
    pub(crate) stop_with: Option<ExitReason>,
    pub(crate) last_failure: Option<String>,
    pub(crate) sdk: String,
}

impl Cell {
    pub(crate) fn new(
        id: AgentId,
        lineage: Lineage,
        spec: AgentSpec,
        granted: Granted,
        supervisor: Name,
        (parent, declared): (Option<Parent>, bool),
        component: Component,
    ) -> Self {
        let mind = Mind {
            agent: Agent::new(spec.budget, spec.durability),
            asks: Asks::default(),
            state: StateBook::new(spec.durability),
            profile: Profile::default(),
            firings: HashMap::new(),
            started: false,
            unrecorded: false,
            incarnation: Incarnation(0),
            ran: None,
            alone: false,
            passive: false,
            degraded: None,
            failing: None,
            exit: None,
            let_go: false,
            exit_wanted: None,
            timers_pending: HashMap::new(),
            stop_with: None,
            last_failure: None,
            sdk: String::new(),
        };
        let rates = Mutex::new(Rates::new(&spec.budget));
        Self {
            id,
            name: spec.name.clone(),
            lineage,
            spec,
            granted,
            supervisor,
            parent,
            declared,
            mind: Mutex::new(mind),
            instance: Mutex::new(None),
            component: Mutex::new(component),
            undoings: AtomicU32::new(0),
            room: Bell::default(),
            changed: Bell::default(),
            cancel: Notify::new(),
            killed: Notify::new(),
            life: tokio::sync::Mutex::default(),
            orders: Mutex::default(),
            rates,
            stats: Stats::default(),
        }
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.spec.durability != Durability::None
    }

    pub(crate) fn reference(&self) -> AgentRef {
        AgentRef { id: self.id, name: self.name.clone() }
    }

    /// For events that are not of a turn.
    pub(crate) fn scene(&self) -> Scene {
        Scene { agent: Some(self.reference()), incarnation: self.mind.lock().incarnation, ..Scene::default() }
    }

    /// For events of a turn.
    pub(crate) fn scene_of(&self, began: Began) -> Scene {
        Scene {
            agent: Some(self.reference()),
            incarnation: began.incarnation,
            turn: Some(began.turn),
            ..Scene::default()
        }
        .because(began.origin)
    }

    /// The number of the next turn.
    pub(crate) fn next_turn(&self) -> TurnId {
        TurnId(self.stats.turns.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Whether the agent is to be put into the queue of runnable agents now.
    pub(crate) fn wakes(&self) -> bool {
        self.mind.lock().agent.wake()
    }

    pub(crate) fn set_gate(&self, gate: Gate) {
        self.mind.lock().agent.set_gate(gate);
        self.changed.ring();
    }

    /// Waits until no turn of it runs and none waits for its commit.
    pub(crate) async fn quiet(&self) {
        self.changed.wait(|| self.mind.lock().agent.is_quiet().then_some(())).await;
    }

    /// Puts in what the host itself has to say; false if the agent takes nothing any more.
    pub(crate) fn notice(self: &Arc<Self>, message: Message) -> bool {
        self.mind.lock().agent.notice(Box::new(message)).is_ok()
    }
}
