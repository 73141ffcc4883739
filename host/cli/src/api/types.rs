//! The shapes that host and commands exchange: HTTP bodies and what `-o json` prints. Versioned: a field may be added,
//! none changes its meaning. Never anything but values.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of all shapes.
pub const API_VERSION: &str = "skep/v1";

/// How the HTTP headers begin that carry a message's own.
pub const META_PREFIX: &str = "skep-meta-";

/// A shape with its version and its kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Versioned<T> {
    /// [`API_VERSION`].
    pub api_version: String,
    /// Which shape.
    pub kind: String,
    /// The shape itself.
    #[serde(flatten)]
    pub body: T,
}

impl<T> Versioned<T> {
    /// Of this version.
    pub fn new(kind: &str, body: T) -> Self {
        Self { api_version: API_VERSION.to_owned(), kind: kind.to_owned(), body }
    }
}

/// A list of shapes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct List<T> {
    /// Its items.
    pub items: Vec<T>,
}

/// `HostStatus`: the host itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// The hive's name.
    pub hive: String,
    /// The name of this host, if it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<String>,
    /// The version of the host.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The manifest that it was started with.
    pub manifest: String,
    /// The data directory.
    pub data: String,
    /// How many agents it has.
    pub agents: usize,
    /// Whether it keeps events for those who ask later.
    pub telemetry: bool,
}

/// `Agent`: a line of `skep ps`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u32,
    /// starting, ready, idle, busy, passive, degraded, stopping, stopped, failed or resting.
    pub status: String,
    /// The reason that goes with degraded and failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The plugin that it runs.
    pub plugin: String,
    /// The digest of that plugin.
    pub digest: String,
    /// none, process or full.
    pub durability: String,
    /// Its supervisor.
    pub supervisor: String,
    /// Counts its instances.
    pub incarnation: u32,
    /// Messages waiting.
    pub mailbox_messages: u64,
    /// Messages handled since the host started.
    pub handled: u64,
    /// Restarts since the host started.
    pub restarts: u64,
}

/// `Node`: a line of `skep nodes`, a host of the hive as the one that is asked sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its name.
    pub host: String,
    /// here, up or gone.
    pub state: String,
    /// Since when, in UTC.
    pub since: String,
    /// Of the host itself: whether it reaches the server. Of another: whether its lease is seen.
    pub connected: bool,
    /// Agents that can be addressed there.
    pub agents: u32,
    /// What waits for it.
    pub outbox: Outbox,
    /// Messages that have come from there since the host started.
    pub received: u64,
}

/// What waits for a host: sent or not, and not confirmed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outbox {
    /// Messages.
    pub messages: u64,
    /// What they weigh.
    pub bytes: u64,
    /// The most messages that it takes.
    pub messages_max: u64,
    /// How long the oldest one waits, in milliseconds; none if nothing does.
    pub oldest_ms: Option<u64>,
}

/// `AgentDetail`: all that is known of one agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentDetail {
    /// As in `skep ps`.
    #[serde(flatten)]
    pub agent: Agent,
    /// What it was told.
    pub config: Value,
    /// permanent, transient or temporary.
    pub restart: String,
    /// Waiting messages by channel.
    pub lanes: Vec<Lane>,
    /// Bytes of its linear memories; none without an instance.
    pub memory_bytes: Option<u64>,
    /// Bytes of its stored state.
    pub state_bytes: u64,
    /// Names of its timers.
    pub timers: Vec<String>,
    /// Asks that it has open.
    pub asks_open: u64,
    /// Replies that it owes.
    pub replies_owed: u64,
    /// Patterns that it is subscribed to.
    pub subscriptions: Vec<String>,
    /// Turns that failed since the host started.
    pub turns_failed: u64,
    /// Messages refused since the host started.
    pub refused: u64,
    /// The SDK that it was built with.
    pub sdk: String,
    /// Its last failure.
    pub last_failure: Option<String>,
}

/// Messages that wait in one lane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lane {
    /// The channel.
    pub channel: String,
    /// How many wait.
    pub messages: u64,
}

/// `TreeNode`: a supervisor or an agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum TreeNode {
    /// A supervisor.
    #[serde(rename_all = "camelCase")]
    Supervisor {
        /// Its name.
        name: String,
        /// one-for-one, one-for-all, rest-for-one or dynamic.
        strategy: String,
        /// Restarts in its window now.
        restarts: u32,
        /// Restarts that it bears.
        intensity: u32,
        /// The window, in milliseconds.
        period_ms: u32,
        /// In the order in which they start.
        children: Vec<TreeNode>,
    },
    /// An agent.
    Agent(Box<Agent>),
}

/// A body: as JSON if it is JSON, else as text if it is text, else in base64.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Body {
    /// How long it is.
    pub bytes: usize,
    /// The JSON.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub json: Option<Value>,
    /// The text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// The bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base64: Option<String>,
}

/// `DeadLetter`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The message.
    pub id: String,
    /// For whom it was.
    pub to: String,
    /// From whom; none is the outside.
    pub from: Option<String>,
    /// What it was. (`kind` is the kind of the shape.)
    pub message_kind: String,
    /// Its channel.
    pub channel: String,
    /// failed, stopped or absent.
    pub reason: String,
    /// The last failure.
    pub detail: Option<String>,
    /// When, in UTC.
    pub time: String,
    /// Turns that failed on it.
    pub attempts: u32,
    /// Its body; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub body: Option<Body>,
}

/// `Receipt`: what a swap has done.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// What was swapped: an agent or a plugin.
    pub target: String,
    /// The digest of what ran.
    pub from: String,
    /// The digest of what runs.
    pub to: String,
    /// Messages lost, all agents together: 0.
    pub lost: u64,
    /// Messages that came again, all agents together.
    pub replayed: u64,
    /// The longest pause of an agent, in milliseconds.
    pub pause_ms: f64,
    /// Agent by agent.
    pub agents: Vec<SwappedAgent>,
}

/// One agent of a swap.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwappedAgent {
    /// Its name.
    pub agent: String,
    /// Messages lost.
    pub lost: u64,
    /// Messages that came again.
    pub replayed: u64,
    /// How long it took no message, in milliseconds.
    pub pause_ms: f64,
}

/// `Event`: one thing that happened. A stream that fell behind has a `Missed` in its place.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Ascending since the host started.
    pub id: u64,
    /// When, in UTC.
    pub time: String,
    /// debug, info, warn or error.
    pub severity: String,
    /// What happened: `agent.ready`, `log` and so on.
    pub event: String,
    /// The host.
    pub host: String,
    /// The agent.
    pub agent: Option<String>,
    /// Its instance.
    pub incarnation: u32,
    /// Its turn.
    pub turn: Option<u64>,
    /// On whose behalf.
    pub cause: Option<String>,
    /// The ask or the trace that it belongs to.
    pub correlation: Option<String>,
    /// How long it took, in nanoseconds.
    pub duration_ns: Option<u64>,
    /// What it says.
    pub fields: serde_json::Map<String, Value>,
}

/// `Missed`: events that a slow reader did not get.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Missed {
    /// How many.
    pub missed: u64,
}

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PageQuery {
    /// The last name of the part before it; empty: the first one.
    #[serde(default)]
    pub after: String,
}

/// `Setting`: a derived setting.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value, with the unit.
    pub value: String,
    /// Where it came from.
    pub origin: String,
}

/// `BenchNumber`: what `skep bench` has measured of one thing, and what it was to its control.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchNumber {
    /// Its name.
    pub name: String,
    /// The best figure of all rounds.
    pub value: f64,
    /// Of the figure: ns, us, 1/s or KiB.
    pub unit: String,
    /// Which figures, and which ratios, are the better ones.
    pub better: Better,
    /// What is measured.
    pub what: String,
    /// The number without Skep that it is divided by, if there is one.
    pub control: Option<String>,
    /// The best of the rounds' ratios: the figure over the control's, both of the same round.
    pub ratio: Option<f64>,
    /// The bar, if there is one: what the ratio may not exceed, or fall below if higher is better.
    pub factor: Option<f64>,
    /// Whether the ratio keeps the bar.
    pub met: Option<bool>,
    /// The bar, for people.
    pub bar: Option<String>,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Of times and sizes.
    Lower,
    /// Of rates.
    Higher,
}

/// `Accepted`: a message that was taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Accepted {
    /// Its id.
    pub id: String,
}

/// `Done`: something was done to what has this name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// What was done: spawned, stopped, restarted, dropped.
    pub done: String,
    /// To what.
    pub name: String,
}

/// What `POST /v1/agents` takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpawnRequest {
    /// The new agent's name.
    pub name: String,
    /// Its supervisor; the root if there is none.
    #[serde(default)]
    pub supervisor: Option<String>,
    /// The keys of `[agent.NAME]` in TOML.
    pub toml: String,
    /// What the agent is told; in place of `config` of the keys.
    #[serde(default)]
    pub config: Option<Value>,
}

/// What `POST /v1/swap` takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwapRequest {
    /// An agent or a plugin.
    pub target: String,
    /// The component file, as the host sees it.
    pub file: String,
}

/// What messages take beside their body, in the query of `ask` and `send`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageQuery {
    /// What the message is.
    pub kind: String,
    /// Its channel.
    #[serde(default)]
    pub channel: Option<String>,
    /// The same id again within the hive's window is the same message.
    #[serde(default)]
    pub client_id: Option<String>,
    /// How long an asker waits.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// What events are asked for, in the query of `events`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Whether to wait for more.
    #[serde(default)]
    pub follow: bool,
    /// How many of the past.
    #[serde(default)]
    pub recent: Option<usize>,
    /// Only of this agent.
    #[serde(default)]
    pub agent: Option<String>,
    /// Only events whose name begins so; several, parted by commas: with any of them.
    #[serde(default)]
    pub event: Option<String>,
}

/// An error: RFC 9457 with the stable code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// A name for the sort of problem.
    #[serde(rename = "type")]
    pub sort: String,
    /// What the code says.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// The exit code of a command that meets it.
    pub exit: u8,
    /// What happened here.
    pub detail: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub help: Option<String>,
    /// What is wrong in a text that was sent, one by one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problems: Option<Value>,
    /// Of a message that its agent refused: invalid, unknown-kind, denied, unavailable or failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refusal: Option<String>,
}

/// `Session`: one run of a protocol.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Its name.
    pub name: String,
    /// What its protocol calls itself.
    pub protocol: String,
    /// The protocol's version.
    pub version: String,
    /// What it was opened with.
    pub config: Value,
    /// The members, in the order that breaks ties.
    pub members: Vec<skep_core::session::Member>,
    /// The only randomness.
    pub seed: u64,
    /// When it ends at the latest, in milliseconds after it was opened.
    pub deadline_ms: u64,
    /// When it was opened.
    pub opened: String,
    /// The envelopes so far.
    pub events: u64,
    /// How it ended; null while it runs. As `Outcome`.
    pub outcome: Option<Value>,
    /// What of the protocol's state observers may see, while it runs.
    pub view: Value,
}

/// `Outcome`: the one record of how a session ended. `docs/sessions.md` has its fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Outcome(pub Value);

/// An entry of a session's log. `docs/sessions.md` has its fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionLogEntry(pub skep_runtime::LogEntry);

/// What opens a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenRequest {
    /// The session's name.
    pub name: String,
    /// Its protocol, by its plugin or by what it calls itself.
    pub protocol: String,
    /// The declaration.
    pub session: skep_runtime::SessionSpec,
}

/// What calls a session off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CancelRequest {
    /// Why.
    pub why: String,
}
