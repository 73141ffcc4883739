//! The SDK as authors use it: agents in a `Testbed`. What the host does with them is tested beside the host.

#![expect(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]
mod asking;
mod handling;
mod jobs;
mod keeping;
mod readme;
