//! The host's imports, by interface. The one place that decides where they lead.

pub(crate) use crate::bindings::skep::agent::*;
