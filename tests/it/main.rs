//! All integration tests, in one binary: real components, real stores, real processes.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that finds what it does not expect ends there"
)]

mod asks;
mod basics;
mod bench;
mod bidders;
mod budget;
mod calls;
mod cluster;
mod commands;
mod delivery;
mod demo_end;
mod events;
mod failure;
mod grants;
mod harm;
mod host;
mod kill;
mod kit;
mod lives;
mod manifest;
mod nats;
mod orders;
mod outside;
mod plugin;
mod protocols;
mod python;
mod readme;
mod registry;
mod rest;
mod rules;
mod session_commands;
mod session_ends;
mod session_faults;
mod session_kill;
mod sessions;
mod state;
mod store;
mod supervision;
mod swap;
mod telemetry;
mod tidy;
mod timers;
mod topics;
