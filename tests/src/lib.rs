//! What tests of the whole host share. Never used by the host itself.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that finds what it does not expect ends there"
)]

pub mod chance;
pub mod clock;
pub mod crash;
pub mod faulty;
pub mod guests;
pub mod hives;
pub mod kit;
pub mod nats;
pub mod process;
pub mod protocols;
pub mod puppet;
