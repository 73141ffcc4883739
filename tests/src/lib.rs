//! What tests of the whole host share. Never used by the host itself.

pub mod guests;
pub mod hives;
pub mod kit;
pub mod puppet;
