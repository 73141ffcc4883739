//! What a host shows of itself: plain values, taken at one moment. Never a handle on anything.

use skep_core::event::Event;
use skep_core::spec::{Durability, Restart, Strategy};
use skep_core::{AgentId, Bytes, Channel, DeadReason, Digest, Incarnation, MessageId, Name};

/// What an agent is doing, in an operator's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its `start` has not returned yet.
    Starting,
    /// It has started and has not had a message yet.
    Ready,
    /// It has nothing to do.
    Idle,
    /// A turn is running or messages wait.
    Busy,
    /// Its instance is dropped; the next message brings it back.
    Passive,
    /// It says so itself, with its reason: degraded.
    Degraded(String),
    /// It is about to end.
    Stopping,
    /// It was stopped in order and stays so until it is restarted.
    Stopped,
    /// It has ended and its supervisor has given up, or it says that it is failing.
    Failed(String),
    /// It is not in the hive any more and its state is kept: whoever comes under its name goes on with it.
    Resting,
}

impl Status {
    /// The stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Passive => "passive",
            Self::Degraded(_) => "degraded",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed(_) => "failed",
            Self::Resting => "resting",
        }
    }

    /// The reason that goes with it, safe to show.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Degraded(reason) | Self::Failed(reason) => Some(reason),
            _ => None,
        }
    }
}

/// A line of `skep ps`.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// Its number.
    pub id: AgentId,
    /// Its name.
    pub name: Name,
    /// What it is doing.
    pub status: Status,
    /// The plugin that it runs.
    pub plugin: Name,
    /// The digest of that plugin.
    pub digest: Digest,
    /// What survives.
    pub durability: Durability,
    /// Its supervisor.
    pub supervisor: Name,
    /// Its instance.
    pub incarnation: Incarnation,
    /// Messages waiting.
    pub mailbox_messages: u64,
    /// Messages handled since the host started.
    pub handled: u64,
    /// Exits since the host started that were followed by a restart.
    pub restarts: u64,
}

/// All that is known of one agent.
#[derive(Clone, Debug)]
pub struct AgentDetail {
    /// As in `skep ps`.
    pub view: AgentView,
    /// Its configuration: a JSON object.
    pub config_json: String,
    /// When it is started again.
    pub restart: Restart,
    /// Waiting messages by lane.
    pub lanes: Vec<(Channel, u64)>,
    /// Places of its mailbox that senders have reserved and not filled yet, and their bytes.
    pub promised_messages: u64,
    /// See `promised_messages`.
    pub promised_bytes: u64,
    /// Bytes of its linear memories; none without an instance.
    pub memory_bytes: Option<u64>,
    /// Bytes of its stored state.
    pub state_bytes: u64,
    /// Names of its timers.
    pub timers: Vec<Name>,
    /// Asks that it has open.
    pub asks_open: u64,
    /// Replies that it owes.
    pub replies_owed: u64,
    /// Its subscriptions.
    pub subscriptions: Vec<String>,
    /// Turns that failed since the host started.
    pub turns_failed: u64,
    /// Messages refused since the host started.
    pub refused: u64,
    /// The SDK that it was built with.
    pub sdk: String,
    /// Its last failure, safe to show.
    pub last_failure: Option<String>,
}

/// A node of the tree of supervisors.
#[derive(Clone, Debug)]
pub enum TreeView {
    /// A supervisor.
    Supervisor {
        /// Its name.
        name: Name,
        /// Whom a restart concerns.
        strategy: Strategy,
        /// Restarts in its window now.
        restarts: u32,
        /// Restarts that it bears.
        intensity: u32,
        /// The window, in milliseconds.
        period_ms: u32,
        /// In the order in which they start.
        children: Vec<TreeView>,
    },
    /// An agent.
    Agent(Box<AgentView>),
}

/// A dead letter.
#[derive(Clone, Debug)]
pub struct DeadLetterView {
    /// The message.
    pub id: MessageId,
    /// For whom it was.
    pub to: Name,
    /// From whom; none is the outside.
    pub from: Option<Name>,
    /// Its kind.
    pub kind: Name,
    /// Its channel.
    pub channel: Channel,
    /// Why it died.
    pub reason: DeadReason,
    /// When, nanoseconds since 1970.
    pub time_ns: u64,
    /// Turns that failed on it.
    pub attempts: u32,
    /// Its body.
    pub body: Bytes,
}

/// What a swap has done.
#[derive(Clone, Debug)]
pub struct SwapReceipt {
    /// Agent by agent.
    pub agents: Vec<SwappedAgent>,
    /// What ran before.
    pub from: Digest,
    /// What runs now.
    pub to: Digest,
}

/// One agent of a swap.
#[derive(Clone, Debug)]
pub struct SwappedAgent {
    /// Its name.
    pub agent: Name,
    /// Messages lost: 0, or the swap has failed.
    pub lost: u64,
    /// Messages whose turn was undone and that came again.
    pub replayed: u64,
    /// Messages that waited when the new one took over.
    pub waiting: u64,
    /// From the end of the last old turn to the first moment the new one could take a message, in nanoseconds.
    pub pause_ns: u64,
}

/// A derived setting, its value and where it came from: `skep explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, dotted.
    pub name: String,
    /// Its value, with the unit.
    pub value: String,
    /// How it was derived.
    pub origin: String,
}

/// Numbers since the host started.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// By name: messages handled, dropped by reason, dead letters by reason, commits and so on.
    pub values: Vec<(String, u64)>,
}

/// Events from now on. One that falls behind by more than 16,384 events loses the oldest and is told how many.
#[derive(Debug)]
pub struct EventStream {
    pub(crate) receiver: tokio::sync::broadcast::Receiver<std::sync::Arc<Event>>,
    pub(crate) _listening: crate::events::Listening,
}

/// What comes next of a stream of events.
#[derive(Clone, Debug)]
pub enum NextEvent {
    /// An event.
    Event(std::sync::Arc<Event>),
    /// The stream fell behind and so many are left out.
    Missed(u64),
}

impl EventStream {
    /// The next one; none when the host has ended.
    pub async fn next(&mut self) -> Option<NextEvent> {
        use tokio::sync::broadcast::error::RecvError;
        match self.receiver.recv().await {
            Ok(event) => Some(NextEvent::Event(event)),
            Err(RecvError::Lagged(count)) => Some(NextEvent::Missed(count)),
            Err(RecvError::Closed) => None,
        }
    }
}
