#![doc = include_str!("../README.md")]

// The attributes write `::skep_sdk::...`, here too.
extern crate self as skep_sdk;

#[expect(
    missing_docs,
    reason = "generated from the WIT package, which has the documentation; the one place with unsafe code"
)]
mod bindings;

mod address;
mod agent;
mod arrive;
mod body;
mod config;
mod context;
mod error;
mod host;
mod id;
mod instance;
mod jobs;
mod kept;
#[doc(hidden)]
pub mod log;
mod names;
pub mod raw;
mod route;
mod slots;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod unit;

pub use address::Address;
pub use agent::{Agent, Handlers, Later, Respond};
pub use arrive::{Answer, Answers, Down, Timer};
pub use body::{Body, Bytes, Envelope, Message};
pub use config::Config;
pub use context::{Child, Context, Entry, Health, Options, Registry, Scan, Span, State, Telemetry};
pub use error::{AskError, Refusal, Result, SendError, StateError};
pub use host::message::Meta;
pub use host::supervision::{Durability, Restart};
pub use host::types::{Channel, ExitReason, StartReason};
pub use id::{AskId, BadId, Id, ManyId, ReplyTo};
pub use kept::Stored;
pub use skep_sdk_macros::{agent, data, handlers, message};
#[doc(no_inline)]
pub use {serde, serde_json};

/// What an agent's file begins with: `use skep_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Address, Answer, Answers, AskError, AskId, Bytes, Channel, Child, Config, Context, Down, Durability, Envelope,
        ExitReason, Health, Id, Later, ManyId, Options, Refusal, ReplyTo, Restart, Result, SendError, StartReason,
        StateError, Stored, Timer,
    };
    pub use crate::{agent, data, debug, error, handlers, info, message, warn};
    pub use std::time::Duration;
}

/// What the attributes write. No part of the SDK that an author names.
#[doc(hidden)]
pub mod __private {
    pub use crate::agent::{Handler, distinct};
    pub use crate::arrive::Arrive;
    pub use crate::config::FromConfig;
    pub use crate::instance::Instance;
    pub use crate::kept::Persist;
    pub use crate::unit::unit;
}
