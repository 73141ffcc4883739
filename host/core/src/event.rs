//! The one closed type of events: everything that the host does and an operator may want to see. Events observe and
//! never steer: nothing in the host waits for one.

use std::sync::Arc;

use crate::exit::ExitReason;
use crate::id::{AgentId, Digest, Incarnation, MessageId, TurnId};
use crate::limit::Limit;
use crate::message::DeadReason;
use crate::name::Name;

/// One thing that happened, and where.
#[derive(Clone, Debug)]
pub struct Event {
    /// Ascending in this host since it started, from 1.
    pub id: u64,
    /// On whose behalf.
    pub cause: Option<MessageId>,
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// How long it took, where that means something.
    pub duration_ns: Option<u64>,
    /// The host's name.
    pub host: Name,
    /// The agent that it concerns.
    pub agent: Option<AgentRef>,
    /// Its instance.
    pub incarnation: Incarnation,
    /// Its turn.
    pub turn: Option<TurnId>,
    /// The ask or the trace that it belongs to: that of the cause's [`crate::Origin`].
    pub correlation: Option<MessageId>,
    /// What happened.
    pub what: What,
}

/// An agent, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRef {
    /// Its number.
    pub id: AgentId,
    /// Its name.
    pub name: Name,
}

/// How much an event matters to an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For those who look closely.
    Debug,
    /// Worth knowing.
    Info,
    /// Look at it some day.
    Warn,
    /// Look at it now.
    Error,
}

/// A value in an event's fields.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text, safe to show.
    Text(String),
    /// A number.
    Number(u64),
    /// A measured value.
    Float(f64),
    /// Yes or no.
    Flag(bool),
}

/// What happened. Texts are safe to show.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum What {
    /// The hive runs.
    HiveStarted,
    /// The hive is about to end.
    HiveStopping,
    /// The root supervisor gave up, with its reason.
    HiveDown(ExitReason),
    /// A component is ready to be instantiated.
    PluginLoaded {
        /// Its name.
        plugin: Name,
        /// What it is.
        digest: Digest,
        /// Whether compiled code came from the cache.
        cached: bool,
    },
    /// An agent is about to start.
    AgentStarting,
    /// An agent started and takes messages.
    AgentReady {
        /// fresh, restarted, woken or upgraded.
        why: &'static str,
    },
    /// An agent registered what it can do.
    AgentRegistered,
    /// An agent's instance was dropped to save memory.
    AgentPassive,
    /// An agent ended.
    AgentExited(ExitReason),
    /// Its supervisor starts it again.
    AgentRestarting {
        /// Restarts in the supervisor's window, this one included.
        restarts: u32,
    },
    /// An agent is gone for good.
    AgentGone,
    /// An agent that the store knows is not started with the host: the manifest has it, or its plugin, no more. Its state
    /// is kept.
    AgentLeftOut {
        /// Which.
        agent: Name,
    },
    /// An agent that was swapped alone goes on with that version at the start of the host, and not with what its plugin
    /// is by now.
    AgentRunsAlone {
        /// Which.
        agent: Name,
        /// What it runs.
        runs: Digest,
        /// What its plugin is.
        plugin: Digest,
    },
    /// A supervisor gave up: more restarts than its intensity allows.
    SupervisorEscalated {
        /// Which.
        supervisor: Name,
    },
    /// A supervisor ended by its significant children.
    SupervisorEnded {
        /// Which.
        supervisor: Name,
    },
    /// A turn was committed.
    TurnCommitted {
        /// Messages dealt with.
        handled: u32,
        /// Effects that left.
        effects: u32,
    },
    /// A turn failed and nothing of it is visible.
    TurnFailed {
        /// The stable word: trap, deadline, limit, turn-error, wall-time, host-panic, pool-full, other.
        kind: &'static str,
        /// What it said.
        detail: String,
        /// Messages in its batch.
        batch: u32,
        /// Lines that it had written into the log: they are out, and count for nothing.
        lines: u32,
    },
    /// A turn was undone through no fault of its messages, which come again: its commit failed, or it was given up for a
    /// stop or a swap.
    TurnUndone {
        /// Messages in its batch.
        batch: u32,
        /// Lines that it had written into the log: they are out, and count for nothing.
        lines: u32,
    },
    /// A message was refused by its agent.
    MessageRefused {
        /// What it said.
        why: String,
    },
    /// A message comes again.
    MessageRedelivered {
        /// Which.
        message: MessageId,
        /// The next attempt.
        attempt: u32,
    },
    /// A message is a dead letter.
    DeadLetter {
        /// Which.
        message: MessageId,
        /// Why.
        reason: DeadReason,
    },
    /// A message was dropped because nothing keeps it: counted by its reason.
    MessageDropped {
        /// The stable word: late-reply, telemetry-overflow, subscriber-full, duplicate, dead-letters-full, not-a-member, not-json.
        reason: &'static str,
    },
    /// A grant was missing.
    Denied {
        /// What was tried.
        what: String,
    },
    /// A limit was reached.
    LimitReached {
        /// Which.
        limit: Limit,
        /// Its value.
        value: u64,
    },
    /// An ask ended without a reply.
    AskFailed {
        /// The stable word.
        why: &'static str,
    },
    /// A commit failed; its turns were undone.
    CommitFailed {
        /// What the store said.
        detail: String,
    },
    /// A swap is under way.
    SwapPrepared {
        /// What runs.
        from: Digest,
        /// What will.
        to: Digest,
    },
    /// A swap was committed and the agent goes on.
    SwapResumed {
        /// What ran.
        from: Digest,
        /// What runs.
        to: Digest,
        /// Messages that waited meanwhile.
        waiting: u64,
    },
    /// A swap failed; the old one goes on.
    SwapFailed {
        /// Why.
        detail: String,
    },
    /// A session has taken a step.
    SessionStepped {
        /// Its envelope.
        seq: u64,
        /// What the protocol was told: the stable word.
        event: &'static str,
    },
    /// A session has ended.
    SessionEnded {
        /// decided, no-decision, cancelled or failed.
        kind: &'static str,
        /// The protocol's word.
        code: String,
    },
    /// What is kept of a session cannot be read: it has failed.
    SessionCorrupt {
        /// Why.
        why: String,
    },
    /// The record and the log of a session that has ended are removed: as many as may be kept ended after it.
    SessionForgotten {
        /// Which.
        session: Name,
    },
    /// The server that carries between hosts is reached on a lane.
    BusConnected {
        /// control or data.
        lane: &'static str,
    },
    /// It is not reached any more: what is for other hosts waits.
    BusLost {
        /// control or data.
        lane: &'static str,
        /// Why.
        why: String,
    },
    /// Something on the way between hosts does not work, and is tried again.
    BusTrouble {
        /// What.
        what: String,
    },
    /// Another host of the hive is there.
    HostUp {
        /// Which.
        host: Name,
    },
    /// Another host is not there any more: what is for it waits.
    HostGone {
        /// Which.
        host: Name,
    },
    /// Another process has the name of this host: this one takes no part in the hive.
    HostTaken {
        /// What was seen.
        why: String,
    },
    /// An agent of another host can be addressed.
    NameSeen {
        /// The name.
        name: Name,
        /// The host that has it.
        by: Name,
    },
    /// An agent of this host has the name of another host's: from other hosts, that one is addressed.
    NameTaken {
        /// The name.
        name: Name,
        /// The host that has it.
        by: Name,
    },
    /// An agent's own word about itself.
    Health {
        /// ok, degraded or failing.
        status: &'static str,
        /// Its reason.
        reason: String,
    },
    /// A line of an agent's log.
    Log {
        /// How much it matters.
        severity: Severity,
        /// The line.
        text: Arc<str>,
        /// Its fields.
        fields: Vec<(String, String)>,
        /// The turn that wrote it has failed or was undone. Only of those that are kept: it is not known when it is written.
        undone: bool,
    },
    /// Lines over the budget that were left out.
    LogSuppressed {
        /// How many.
        lines: u64,
    },
    /// A value of an agent's own telemetry.
    Metric {
        /// counter, gauge or histogram.
        form: &'static str,
        /// Its name.
        name: String,
        /// Its value.
        value: f64,
    },
    /// An event of an agent's own.
    Custom {
        /// Its name.
        name: String,
        /// Its fields.
        fields: Vec<(String, String)>,
    },
    /// A span of an agent's own was closed.
    Span {
        /// Its name.
        name: String,
        /// The span around it, 0 for none.
        parent: u32,
        /// How long it was open.
        duration_ns: u64,
    },
}

impl What {
    /// The stable name: what `skep events` prints and filters by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::HiveStarted => "hive.started",
            Self::HiveStopping => "hive.stopping",
            Self::HiveDown(_) => "hive.down",
            Self::PluginLoaded { .. } => "plugin.loaded",
            Self::AgentStarting => "agent.starting",
            Self::AgentReady { .. } => "agent.ready",
            Self::AgentRegistered => "agent.registered",
            Self::AgentPassive => "agent.passive",
            Self::AgentExited(_) => "agent.exited",
            Self::AgentRestarting { .. } => "agent.restarting",
            Self::AgentGone => "agent.gone",
            Self::AgentLeftOut { .. } => "agent.left-out",
            Self::AgentRunsAlone { .. } => "agent.runs-alone",
            Self::SupervisorEscalated { .. } => "supervisor.escalated",
            Self::SupervisorEnded { .. } => "supervisor.ended",
            Self::TurnCommitted { .. } => "turn.committed",
            Self::TurnFailed { .. } => "turn.failed",
            Self::TurnUndone { .. } => "turn.undone",
            Self::MessageRefused { .. } => "message.refused",
            Self::MessageRedelivered { .. } => "message.redelivered",
            Self::DeadLetter { .. } => "message.dead-letter",
            Self::MessageDropped { .. } => "message.dropped",
            Self::Denied { .. } => "grant.denied",
            Self::LimitReached { .. } => "limit.reached",
            Self::AskFailed { .. } => "ask.failed",
            Self::CommitFailed { .. } => "commit.failed",
            Self::SwapPrepared { .. } => "swap.prepared",
            Self::SwapResumed { .. } => "swap.resumed",
            Self::SwapFailed { .. } => "swap.failed",
            Self::SessionStepped { .. } => "session.stepped",
            Self::SessionEnded { .. } => "session.ended",
            Self::SessionCorrupt { .. } => "session.corrupt",
            Self::SessionForgotten { .. } => "session.forgotten",
            Self::BusConnected { .. } => "bus.connected",
            Self::BusLost { .. } => "bus.lost",
            Self::BusTrouble { .. } => "bus.trouble",
            Self::HostUp { .. } => "host.up",
            Self::HostGone { .. } => "host.gone",
            Self::HostTaken { .. } => "host.taken",
            Self::NameSeen { .. } => "name.seen",
            Self::NameTaken { .. } => "name.taken",
            Self::Health { .. } => "agent.health",
            Self::Log { .. } => "log",
            Self::LogSuppressed { .. } => "log.suppressed",
            Self::Metric { .. } => "metric",
            Self::Custom { .. } => "custom",
            Self::Span { .. } => "span",
        }
    }

    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Self::TurnCommitted { .. }
            | Self::SessionStepped { .. }
            | Self::NameSeen { .. }
            | Self::Metric { .. }
            | Self::Span { .. } => Severity::Debug,
            Self::TurnFailed { .. }
            | Self::DeadLetter { .. }
            | Self::MessageDropped { .. }
            | Self::Denied { .. }
            | Self::LimitReached { .. }
            | Self::BusLost { .. }
            | Self::BusTrouble { .. }
            | Self::HostGone { .. }
            | Self::NameTaken { .. }
            | Self::SwapFailed { .. }
            | Self::LogSuppressed { .. }
            | Self::AgentLeftOut { .. }
            | Self::AgentRunsAlone { .. }
            | Self::SupervisorEscalated { .. } => Severity::Warn,
            Self::HiveDown(_) | Self::CommitFailed { .. } | Self::SessionCorrupt { .. } | Self::HostTaken { .. } => {
                Severity::Error
            }
            Self::AgentExited(reason) if !reason.is_ordinary() => Severity::Warn,
            Self::Log { severity, .. } => *severity,
            _ => Severity::Info,
        }
    }

    /// What it says, name by name, for logs and JSON.
    pub fn fields(&self) -> Vec<(&'static str, Value)> {
        let text = |value: &dyn ToString| Value::Text(value.to_string());
        let number = |value: &u32| Value::Number((*value).into());
        match self {
            Self::HiveDown(reason) | Self::AgentExited(reason) => vec![("reason", text(reason))],
            Self::PluginLoaded { plugin, digest, cached } => {
                vec![("plugin", text(plugin)), ("digest", text(digest)), ("cached", Value::Flag(*cached))]
            }
            Self::AgentLeftOut { agent } => vec![("agent", text(agent))],
            Self::AgentRunsAlone { agent, runs, plugin } => {
                vec![("agent", text(agent)), ("runs", text(runs)), ("plugin", text(plugin))]
            }
            Self::AgentReady { why } => vec![("why", text(why))],
            Self::AgentRestarting { restarts } => vec![("restarts", number(restarts))],
            Self::SupervisorEscalated { supervisor } | Self::SupervisorEnded { supervisor } => {
                vec![("supervisor", text(supervisor))]
            }
            Self::TurnCommitted { handled, effects } => {
                vec![("handled", number(handled)), ("effects", number(effects))]
            }
            Self::TurnFailed { kind, detail, batch, lines } => {
                vec![("kind", text(kind)), ("detail", text(detail)), ("batch", number(batch)), ("lines", number(lines))]
            }
            Self::TurnUndone { batch, lines } => vec![("batch", number(batch)), ("lines", number(lines))],
            Self::MessageRefused { why } => vec![("why", text(why))],
            Self::MessageRedelivered { message, attempt } => {
                vec![("message", text(message)), ("attempt", number(attempt))]
            }
            Self::DeadLetter { message, reason } => {
                let mut fields = vec![("message", text(message)), ("reason", text(&reason.word()))];
                if let DeadReason::Failed(detail) = reason {
                    fields.push(("detail", text(detail)));
                }
                fields
            }
            Self::MessageDropped { reason } => vec![("reason", text(reason))],
            Self::Denied { what } => vec![("what", text(what))],
            Self::LimitReached { limit, value } => {
                vec![("limit", text(limit)), ("value", Value::Number(*value))]
            }
            Self::AskFailed { why } => vec![("why", text(why))],
            Self::CommitFailed { detail } | Self::SwapFailed { detail } => vec![("detail", text(detail))],
            Self::SwapPrepared { from, to } => vec![("from", text(from)), ("to", text(to))],
            Self::SwapResumed { from, to, waiting } => {
                vec![("from", text(from)), ("to", text(to)), ("waiting", Value::Number(*waiting))]
            }
            Self::SessionStepped { seq, event } => vec![("seq", Value::Number(*seq)), ("event", text(event))],
            Self::SessionEnded { kind, code } => vec![("kind", text(kind)), ("code", text(code))],
            Self::SessionCorrupt { why } | Self::HostTaken { why } => vec![("why", text(why))],
            Self::SessionForgotten { session } => vec![("session", text(session))],
            Self::Health { status, reason } => vec![("status", text(status)), ("reason", text(reason))],
            Self::Log { text, fields, undone, .. } => logged(text, fields, *undone),
            Self::LogSuppressed { lines } => vec![("lines", Value::Number(*lines))],
            Self::Metric { form, name, value } => {
                vec![("form", text(form)), ("name", text(name)), ("value", Value::Float(*value))]
            }
            Self::Custom { name, fields } => vec![("name", text(name)), ("fields", Value::Text(joined(fields)))],
            Self::Span { name, parent, duration_ns } => {
                vec![("name", text(name)), ("parent", number(parent)), ("duration_ns", Value::Number(*duration_ns))]
            }
            other => other.fields_of_hosts(),
        }
    }

    /// Of what happens between hosts. What is left says nothing but its name.
    fn fields_of_hosts(&self) -> Vec<(&'static str, Value)> {
        let text = |value: &dyn std::fmt::Display| Value::Text(value.to_string());
        match self {
            Self::BusConnected { lane } => vec![("lane", text(lane))],
            Self::BusLost { lane, why } => vec![("lane", text(lane)), ("why", text(why))],
            Self::BusTrouble { what } => vec![("what", text(what))],
            Self::HostUp { host } | Self::HostGone { host } => vec![("peer", text(host))],
            Self::NameSeen { name, by } | Self::NameTaken { name, by } => {
                vec![("name", text(name)), ("by", text(by))]
            }
            _ => Vec::new(),
        }
    }
}

fn logged(text: &str, fields: &[(String, String)], undone: bool) -> Vec<(&'static str, Value)> {
    let mut all = vec![("text", Value::Text(text.to_owned()))];
    if !fields.is_empty() {
        all.push(("fields", Value::Text(joined(fields))));
    }
    if undone {
        all.push(("undone", Value::Flag(true)));
    }
    all
}

fn joined(fields: &[(String, String)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}
