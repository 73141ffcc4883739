//! How traffic is classed and who is subscribed to what: the policy of each channel, the rules that choose a channel,
//! and the subscriptions of a host; and how hosts reach each other ([`nats`]).
//!
//! Never here: mailboxes, grants, what a message means, waiting. The bus says who gets a message and what happens if
//! there is no room; the runtime does it, in the commit of the turn that published. Nor does a message become durable
//! here: the sender's journal is the system of record.

mod bus;
mod error;
mod local;
pub mod nats;
pub mod policy;
pub mod route;

pub use bus::Bus;
pub use error::Error;
pub use local::LocalBus;
