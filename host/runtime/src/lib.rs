//! The embeddable host: performs what `skep-core` decides, with the sandbox of `skep-engine`, the state of `skep-store`
//! and the channels of `skep-bus`.
//!
//! Start with [`Host::builder`]. Reading order: `host` (what an embedder sees), `hive` (what is shared), `cell` (an
//! agent's entry), `scheduler` and `turn` (a turn from batch to commit), `seal`, `commit` and `release` (what it comes
//! to), `lifecycle` and `supervise` (starts and ends), `boot` (back from the store), `swap`.
//!
//! Never here: decisions that could be pure (they are in the core), wasmtime, SQL, or anything about a terminal.

mod alarm;
mod answer;
mod bell;
mod boot;
mod builder;
mod call;
mod cell;
mod clock;
mod cluster;
mod commit;
mod context;
mod dead;
mod directory;
mod error;
mod events;
mod group;
mod hive;
mod host;
mod inspect;
mod instance;
mod lifecycle;
mod links;
mod outside;
mod plugins;
mod record;
mod release;
mod running;
mod scan;
mod scheduler;
mod seal;
mod seen;
mod session;
mod spawn;
mod spec_record;
mod state;
mod supervise;
mod swap;
mod targets;
mod turn;
mod upgrade;
mod view;

pub use builder::{Builder, PluginInfo, Progress, check_plugin};
pub use clock::RealClock;
pub use cluster::{ClusterOptions, NatsServer, NodeState, NodeView, OutboxView};
pub use error::Error;
pub use host::Host;
pub use outside::{AskOptions, SendOptions};
pub use session::{
    Cast, Differs, Later, LogEntry, Player, Protocol, Reaction, Rehearsed, SessionSpec, SessionView, Stranger, Told,
    outcome_to_json, record_to_json,
};
pub use view::{
    AgentDetail, AgentView, Counters, DeadLetterView, EventStream, NextEvent, Setting, Status, SwapReceipt,
    SwappedAgent, TreeView,
};
