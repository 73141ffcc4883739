//! The generated bindings, bare: for agents that count nanoseconds, and to see which import a call of the SDK makes.
//!
//! Implement [`Guest`] and hand the type to [`crate::export_raw!`]. Numbers, `begin`, batches and bytes are then the
//! author's own business; the WIT package documents each item.

#[doc(hidden)]
pub use crate::bindings::*;
pub use crate::bindings::{
    exports::skep::agent::guest::{Guest, Traits},
    skep::agent::{
        clock, config, health, log, message, messaging, names, random, registry, state, supervision, telemetry, timers,
        turn, types,
    },
};

/// Makes a type that implements [`Guest`] the agent of this component. Does nothing on other targets than wasm.
#[macro_export]
macro_rules! export_raw {
    ($guest:ident) => {
        #[cfg(target_arch = "wasm32")]
        $crate::raw::export_guest!($guest with_types_in $crate::raw);
    };
}
