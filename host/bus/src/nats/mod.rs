//! Carries frames, names and leases between the hosts of a hive through NATS. Its words: a hive is one deployment with
//! one name, a host is one process of it with a name of its own.
//!
//! Never here: agents' ids, mailboxes, journals, what is in a frame. Nothing is kept here either: the journal of each
//! host is the record, and everything that the server stores may be wiped at any time and is made anew.

mod address;
mod bucket;
mod connection;
mod gate;
mod handle;
mod lane;
mod lease;
mod link;
mod managed;
mod names;
mod node;
mod pace;
pub mod raw;
mod watch;
mod word;

pub use handle::{LEASE_S_DEFAULT, LEASE_S_MIN, Nats, Options};
pub use lane::Lane;
pub use link::Frame;
pub use managed::Managed;
pub use names::NAMES_MAX;
pub use node::Node;
pub use word::{Ears, Word};
