//! The vocabulary and the decisions of Skep: pure values and state machines, `(state, event) -> effects`.
//!
//! Never here: I/O, clocks, threads, async, randomness, wasmtime, NATS or a database. Time enters as a number, and what
//! is decided here is performed by `skep-runtime`.

pub mod agent;
pub mod ask;
pub mod clock;
pub mod dead;
pub mod event;
pub mod exit;
pub mod form;
pub mod grant;
pub mod id;
pub mod limit;
pub mod link;
pub mod mailbox;
pub mod message;
pub mod name;
pub mod outbox;
pub mod rate;
pub mod registry;
pub mod session;
pub mod similar;
pub mod spec;
pub mod supervision;
pub mod timer;
pub mod topic;
pub mod turn;
pub mod wait;

/// Bodies and stored values: shared, never copied by the host.
pub use bytes::Bytes;
pub use exit::ExitReason;
pub use id::{AgentId, Digest, IdMap, Incarnation, Lineage, MessageId, Seq, TurnId};
pub use limit::Limit;
pub use message::{AskFailure, BoxedMessage, Channel, Class, DeadReason, Message, Origin, Rare, Refusal, SendError};
pub use name::Name;
