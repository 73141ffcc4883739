//! A session: one run of a protocol over declared members. What happens to it becomes one order of envelopes, and what
//! the protocol answers becomes what the host does.
//!
//! Pure: it never enters a component, sends, stores or looks at a clock. Whoever drives it asks for the next envelope,
//! gives it to the protocol, and hands back the effects; a host does so inside a turn, a rehearsal in a loop.

mod books;
mod canonical;
mod exchange;
mod manifest;
mod outcome;
mod step;
mod types;

pub use books::{Books, Session};
pub use canonical::hash_text;
pub use exchange::{Input, Notice, Order};
pub use manifest::{Limits, MEMBERS_MAX, Manifest, Timing, Unfit};
pub use outcome::{EndKind, Outcome, Record};
pub use types::{AskId, Closed, DownReason, Effect, Envelope, Event, Inbound, Info, Member, Payload, Reject};

#[cfg(test)]
mod tests;
