//! The commands, one file each: their options and what they do with a host. Never longer than the talk with it.

pub mod bench;
pub mod build;
pub mod call;
pub mod check;
pub mod completions;
pub mod dead_letters;
pub mod demo;
pub mod down;
pub mod events;
pub mod explain;
pub mod inspect;
pub mod logs;
pub mod nodes;
pub mod protocol;
pub mod ps;
pub mod restart;
pub mod send;
pub mod session;
pub mod spawn;
pub mod stop;
pub mod swap;
pub mod tree;
pub mod up;
pub mod version;

mod cluster;
mod complete;
mod context;
mod describe;
mod detach;
mod input;
mod log_queue;
mod logging;
mod run;

pub use context::Context;
pub use run::run;
pub(crate) use swap::summary as swap_summary;
