//! What an embedder says about the cluster, and what it is shown of it. Never anything that runs.

use std::fmt;
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

impl fmt::Display for NatsServer {
    /// Without what a URL has before its `@` as a password or a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = match self {
            Self::Managed => return f.write_str("managed"),
            Self::Url(url) => url,
        };
        let Some((user, server)) = url.rsplit_once('@') else { return f.write_str(url) };
        let (scheme, user) = user.split_once("://").unwrap_or(("nats", user));
        match user.split_once(':') {
            Some((user, _)) => write!(f, "{scheme}://{user}:***@{server}"),
            None => write!(f, "{scheme}://***@{server}"),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_shown_without_its_secret() {
        for (url, shown) in [
            ("nats://h:4222", "nats://h:4222"),
            ("tls://me:s3cret@h:4222", "tls://me:***@h:4222"),
            ("nats://s3cret@h", "nats://***@h"),
            ("nats://me:s3@ret:x@h", "nats://me:***@h"),
            ("me:s3cret@h", "nats://me:***@h"),
        ] {
            assert_eq!(NatsServer::Url(url.to_owned()).to_string(), shown, "{url}");
        }
        assert_eq!(NatsServer::Managed.to_string(), "managed");
    }
}
