//! The host's imports, by interface. The one place that decides where they lead: in a component to the host, in a
//! native test to the host that `testing` plays.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::skep::agent::*;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::host::*;
