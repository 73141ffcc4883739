//! Supervision as a pure state machine: one [`Tree`] holds all supervisors of a hive and decides who is started,
//! stopped and given up, by the rules and in the words of Erlang/OTP. It never starts anything itself: the runtime
//! performs its [`Action`]s and answers with [`Event`]s.
//!
//! # What follows OTP
//!
//! * Start left to right, each child awaited; stop right to left, one after the other.
//! * A child that fails to start while its supervisor starts: those that run are stopped in reverse, the supervisor
//!   fails.
//! * More than N restarts within the last T, both ends of the window included: the supervisor stops its children and
//!   ends with `shutdown`. A restart of a whole group counts once; a failed attempt counts again.
//! * A supervisor looks at one thing at a time. Exits and calls that come while it is starting or restarting a group
//!   wait; an exit of a child that the operation stops anyway is absorbed by it.
//! * A restart of a group also starts its children that were at rest, and never the temporary ones: those are gone.
//! * A supervisor that starts again starts what was declared. Children added while it ran are gone with it.
//! * A child that is terminated while it is about to be restarted leaves those of its group that were to start with it
//!   at rest.
//!
//! # What is ours
//!
//! * The window has the resolution of a nanosecond, not of a second.
//! * [`Strategy::Dynamic`](crate::spec::Strategy::Dynamic) (OTP's `simple_one_for_one`) has no template: every child
//!   brings its own spec, and children may be declared. Its children are forgotten once they ended for good; the
//!   declared ones come back when the supervisor itself starts again.
//! * Where a restart concerns one child only (one-for-one and dynamic), up to `start_concurrency_max` children of a
//!   supervisor start at a time ([`Tree::start_concurrency_max`]); their order stays. With 1, the default, it is
//!   OTP's. The restarts of such children do not wait for one another beyond that bound.
//! * [`BackOff`](crate::spec::BackOff): the wait comes after the group was stopped and before it is started.
//! * A supervisor that its own supervisor stops does not finish starting first.

mod action;
mod error;
mod manage;
mod node;
mod nodes;
mod plan;
mod policy;
mod significant;
mod start;
mod stop;
mod strategy;
mod tree;
mod view;

#[cfg(test)]
mod tests;

pub use action::{Action, Down, Event};
pub use error::{ManageError, SpecError};
pub use node::{ChildId, Status};
pub use plan::{DEPTH_MAX, INTENSITY_MAX, check};
pub use policy::Policy;
pub use tree::Tree;
pub use view::{Child, Counts};
