//! The sandbox: component files become components, components become instances, and a turn enters an instance.
//!
//! The only room that names wasmtime. Never here: mailboxes, supervision, storage, or when a turn runs. What a guest asks
//! for is collected in `skep_core::turn::Turn`; what must be answered while it waits goes through [`TurnHost`].
//!
//! *What is underneath.* [`Engine`] is one `wasmtime::Engine` for each profile that is in use, [`Component`] is an
//! `InstancePre`, [`Instance`] is a `Store` with one instance in it. [`Engine::wasmtime`] gives the real thing.

mod bindings;
mod cache;
mod capability;
mod component;
mod config;
mod convert;
mod ctx;
mod engine;
mod error;
mod failure;
mod hmac;
mod host;
mod instance;
mod limits;
mod looks;
mod numbers;
mod plugin;
mod pool;
mod protocol;
pub mod raw;
mod scan;
#[cfg(test)]
mod testing;
mod ticker;
mod wasi;
mod wit_text;
mod world;

pub use component::{Component, Sizes};
pub use config::Profile;
pub use engine::{Engine, EngineOptions, Program};
pub use error::Error;
pub use failure::Failure;
pub use host::{Find, Handle, Health, Room, StatePage, StateUnreadable, TurnHost};
pub use instance::{Ended, Instance, StartReason};
pub use limits::Limits;
pub use numbers::NUMBERS_MAX;
pub use plugin::{Plugin, open_regular};
pub use protocol::{Misstep, Opened, Protocol, Step};
