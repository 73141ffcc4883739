#![doc = include_str!("../README.md")]

// The README's example names the crate as an author does.
extern crate self as skep_protocol;

#[expect(
    missing_docs,
    reason = "generated from the WIT package, which has the documentation; the one place with unsafe code"
)]
mod bindings;

mod component;
mod json;
mod protocol;
mod session;
mod step;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use bindings::exports::skep::protocol::protocol::Manifest;
pub use bindings::skep::protocol::types::{
    AskId, Closed, DownReason, Effect, EndKind, Event, Inbound, Limits, Member, Outcome, Reject, Timing,
};
pub use json::canonical;
pub use protocol::Protocol;
pub use session::{INTEGER_MAX, Session};
pub use step::Step;
#[doc(no_inline)]
pub use {serde, serde_json};

/// What a protocol's file begins with: `use skep_protocol::prelude::*;`.
pub mod prelude {
    pub use crate::serde_json::{Value, json};
    pub use crate::{
        AskId, Closed, DownReason, EndKind, Event, Inbound, Limits, Manifest, Member, Outcome, Protocol, Reject,
        Session, Step, Timing,
    };
}

/// What [`export!`] writes. No part of the SDK that an author names.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::*;
    pub use crate::component::Component;
}
