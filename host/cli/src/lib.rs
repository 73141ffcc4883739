//! The command line of Skep: manifest, admin API, client, commands and the demo. Never a decision about agents: those are
//! made in `skep-core` and performed by `skep-runtime`.
//!
//! Arrows: `main -> command -> {client, api, manifest, build, demo, output}`.

pub mod cli;
pub mod command;

pub mod api;
pub mod bench;
pub mod build;
pub mod client;
pub mod demo;
pub mod manifest;
pub mod output;
pub mod process;

pub mod exit;
pub mod failure;
pub mod file;
mod guests;
pub mod pages;
pub mod signals;
mod sys;
