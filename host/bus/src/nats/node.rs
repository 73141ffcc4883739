//! What a host says of itself, and how it stands in its lease. Never how long a lease lasts.

use serde::{Deserialize, Serialize};

/// What a host says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// When the host started, in milliseconds since 1970.
    pub started_ms: u64,
    /// How many agents it has.
    pub agents: u32,
    /// The patterns of topics its agents are subscribed to. The caller bounds them: a lease is one message.
    pub patterns: Vec<String>,
}

/// The value of a lease: the JSON of a [`Node`], and which process wrote it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Lease {
    /// Who the host is, over all its lives.
    pub(super) instance: String,
    /// Tells a process from another with the same host name.
    pub(super) process: String,
    started_ms: u64,
    agents: u32,
    patterns: Vec<String>,
}

impl Lease {
    pub(super) fn new(instance: &str, process: &str, node: &Node) -> Self {
        let Node { started_ms, agents, patterns } = node.clone();
        Self { instance: instance.to_owned(), process: process.to_owned(), started_ms, agents, patterns }
    }

    pub(super) fn node(self) -> Node {
        Node { started_ms: self.started_ms, agents: self.agents, patterns: self.patterns }
    }
}
