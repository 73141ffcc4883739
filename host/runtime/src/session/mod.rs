//! Sessions: runs of protocols over declared members. A session is an agent whose guest is not a component's instance but
//! the engine of sessions: it has a mailbox, turns, commits, timers and a supervisor like any other, so that what it does is
//! as atomic and as durable.
//!
//! Never here: what a session decides (`skep_core::session`), or how a protocol is entered (`skep_engine::Protocol`).

mod course;
mod declaration;
mod ended;
mod guest;
mod keeping;
mod kept;
mod mail;
mod memory;
mod operate;
mod protocol;
mod rehearsal;
mod replay;
mod rules;
mod sending;

pub(crate) use ended::EndedSessions;
pub(crate) use guest::SessionGuest;
pub(crate) use keeping::{forget_oldest, stop, suit, unsuited};
pub(crate) use rules::Rules;

pub use declaration::SessionSpec;
pub use kept::{LogEntry, SessionView, outcome_to_json, record_to_json};
pub use protocol::Protocol;
pub use rehearsal::{Cast, Later, Player, Reaction, Rehearsed, Stranger, Told};
pub use replay::Differs;
