//! What an embedder says about the cluster, and what it is shown of it. Never anything that runs.

use std::time::Duration;

use skep_core::Name;

/// Where the NATS server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatsServer {
    /// The host starts `nats-server` from the PATH, and ends it with itself. It listens on this machine only.
    Managed,
    /// It is there already: `nats://HOST:PORT`.
    Url(String),
}

/// How a host is one of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterOptions {
    /// The name of this host, which no other host of the hive has.
    pub host: Name,
    /// The server that carries.
    pub nats: NatsServer,
}

/// What is known of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// This one.
    Here,
    /// Its lease is kept up.
    Up,
    /// Its lease has ended. What is for it waits.
    Gone,
}

impl NodeState {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Up => "up",
            Self::Gone => "gone",
        }
    }
}

/// What waits for a host: sent or not, and not confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxView {
    /// Messages.
    pub messages: u64,
    /// What they weigh, in bytes.
    pub bytes: u64,
    /// The most messages that one lane of it takes.
    pub messages_max: u64,
    /// How long the oldest one waits.
    pub oldest: Duration,
}

impl OutboxView {
    /// Two outboxes for one host.
    pub(super) fn with(self, other: Self) -> Self {
        Self {
            messages: self.messages + other.messages,
            bytes: self.bytes + other.bytes,
            messages_max: self.messages_max.max(other.messages_max),
            oldest: self.oldest.max(other.oldest),
        }
    }
}

/// A host of the hive, as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Its name.
    pub host: Name,
    /// What is known of it.
    pub state: NodeState,
    /// Since when it is in this state, in milliseconds since 1970.
    pub since_ms: u64,
    /// Agents that can be addressed there.
    pub agents: u32,
    /// What waits for it here. Of this host: whether it can reach the server is `connected`.
    pub outbox: OutboxView,
    /// Messages that have come from there since this host started; repeated ones are left out.
    pub received: u64,
    /// Of this host: whether the server is reached. Of another: whether its lease is seen.
    pub connected: bool,
}
