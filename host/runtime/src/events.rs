//! Where events come together and from where they go out: tracing, the last ones in memory, and whoever listens.
//!
//! It never keeps anybody waiting: who does not keep up loses the oldest and is told how many. Tracing calls the
//! program's own subscriber here and now, so that one must not wait either; that of `skep` does not.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use skep_core::clock::Clock;
use skep_core::event::{AgentRef, Event, Severity, Value, What};
use skep_core::{AgentId, Incarnation, MessageId, Name, Origin, TurnId};
use tokio::sync::broadcast;

use crate::view::EventStream;

/// Events kept for those who ask later, and events that a listener may be behind.
pub(crate) const EVENTS_KEPT_MAX: usize = 16_384;

/// See the module.
pub(crate) struct Events {
    host: Name,
    clock: Arc<dyn Clock>,
    /// Whether tracing and memory get events; listeners always do.
    sinks: bool,
    next: AtomicU64,
    sender: broadcast::Sender<Arc<Event>>,
    recent: Mutex<VecDeque<Arc<Event>>>,
    counters: Mutex<BTreeMap<String, u64>>,
    /// Those of `sender`, counted beside it: it is asked in every turn.
    listeners: Arc<AtomicUsize>,
}

/// One listener, for as long as it is.
#[derive(Debug)]
pub(crate) struct Listening(Arc<AtomicUsize>);

impl Listening {
    fn new(listeners: &Arc<AtomicUsize>) -> Self {
        listeners.fetch_add(1, Ordering::SeqCst);
        Self(listeners.clone())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whom an event concerns.
#[derive(Clone, Default)]
pub(crate) struct Scene {
    pub(crate) agent: Option<AgentRef>,
    pub(crate) incarnation: Incarnation,
    pub(crate) turn: Option<TurnId>,
    pub(crate) cause: Option<MessageId>,
    pub(crate) correlation: Option<MessageId>,
    pub(crate) duration_ns: Option<u64>,
}

impl Scene {
    /// The same, on behalf of this one.
    pub(crate) fn because(self, origin: Option<Origin>) -> Self {
        Self { cause: origin.map(|origin| origin.cause), correlation: origin.map(|origin| origin.correlation), ..self }
    }
}

impl Events {
    pub(crate) fn new(host: Name, clock: Arc<dyn Clock>, sinks: bool) -> Self {
        Self {
            host,
            clock,
            sinks,
            next: AtomicU64::new(1),
            sender: broadcast::channel(EVENTS_KEPT_MAX).0,
            recent: Mutex::new(VecDeque::new()),
            counters: Mutex::new(BTreeMap::new()),
            listeners: Arc::default(),
        }
    }

    /// Whether somebody wants an event that matters this much: those of every turn are made only for listeners.
    pub(crate) fn wanted(&self, severity: Severity) -> bool {
        self.listeners.load(Ordering::Relaxed) > 0 || (self.sinks && severity > Severity::Debug)
    }

    pub(crate) fn emit(&self, scene: &Scene, what: What) {
        self.count(&what);
        if !self.wanted(what.severity()) {
            return;
        }
        let event = Arc::new(Event {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            cause: scene.cause,
            time_ns: self.clock.wall_ns(),
            duration_ns: scene.duration_ns,
            host: self.host.clone(),
            agent: scene.agent.clone(),
            incarnation: scene.incarnation,
            turn: scene.turn,
            correlation: scene.correlation,
            what,
        });
        if self.sinks {
            trace(&event);
            self.keep(event.clone());
        }
        // Nobody listening is no error.
        let _ = self.sender.send(event);
    }

    fn keep(&self, event: Arc<Event>) {
        if event.what.severity() == Severity::Debug {
            return;
        }
        let mut recent = self.recent.lock();
        if recent.len() >= EVENTS_KEPT_MAX {
            recent.pop_front();
        }
        recent.push_back(event);
    }

    /// What a turn has logged is kept, and marked: it has failed or was undone. `lines` is how many there are at most.
    pub(crate) fn mark_undone(&self, agent: AgentId, turn: TurnId, mut lines: u32) {
        for event in self.recent.lock().iter_mut().rev() {
            if lines == 0 {
                return;
            }
            let is_of_turn = event.turn == Some(turn) && event.agent.as_ref().is_some_and(|of| of.id == agent);
            if is_of_turn
                && matches!(event.what, What::Log { .. })
                && let What::Log { undone, .. } = &mut Arc::make_mut(event).what
            {
                *undone = true;
                lines -= 1;
            }
        }
    }

    /// Counts what has happened, whoever is told of it.
    pub(crate) fn count(&self, what: &What) {
        let key = match what {
            What::TurnCommitted { .. } | What::Metric { .. } | What::Span { .. } => return,
            What::DeadLetter { reason, .. } => format!("message.dead-letter.{}", reason.word()),
            What::MessageDropped { reason } => format!("message.dropped.{reason}"),
            What::TurnFailed { kind, .. } => format!("turn.failed.{kind}"),
            What::LimitReached { limit, .. } => format!("limit.reached.{limit}"),
            What::AskFailed { why } => format!("ask.failed.{why}"),
            other => other.name().to_owned(),
        };
        *self.counters.lock().entry(key).or_insert(0) += 1;
    }

    /// Counts what has no event of its own.
    pub(crate) fn count_by(&self, name: &str, count: u64) {
        *self.counters.lock().entry(name.to_owned()).or_insert(0) += count;
    }

    pub(crate) fn counters(&self) -> Vec<(String, u64)> {
        self.counters.lock().iter().map(|(name, count)| (name.clone(), *count)).collect()
    }

    pub(crate) fn listen(&self) -> EventStream {
        let listening = Listening::new(&self.listeners);
        EventStream { receiver: self.sender.subscribe(), _listening: listening }
    }

    pub(crate) fn recent(&self, count_max: usize) -> Vec<Arc<Event>> {
        let recent = self.recent.lock();
        recent.iter().skip(recent.len().saturating_sub(count_max)).cloned().collect()
    }
}

/// Every line has the same fields, so that a line of a turn can be found by any of them.
fn trace(event: &Event) {
    let agent = event.agent.as_ref().map_or("", |agent| agent.name.as_str());
    let cause = event.cause.map(|id| id.to_string()).unwrap_or_default();
    let correlation = event.correlation.map(|id| id.to_string()).unwrap_or_default();
    let turn = event.turn.map_or(0, |turn| turn.0);
    let what = event.what.fields().iter().map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>();
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "skep", id = event.id, host = %event.host, agent, incarnation = event.incarnation.0, turn,
                cause, correlation, duration_ns = event.duration_ns, "{} {}", event.what.name(), what.join(" ")
            )
        };
    }
    match event.what.severity() {
        Severity::Debug => line!(debug),
        Severity::Info => line!(info),
        Severity::Warn => line!(warn),
        Severity::Error => line!(error),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Number(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
    }
}
