//! `hive.toml` read into a [`skep_core::spec::HiveSpec`]: every error of a file at once, each with its place. Never
//! starts anything and never touches a plugin file; docs/manifest.md explains the format.

mod agent;
mod cluster;
mod config;
mod hive;
mod keys;
mod plugin;
mod problem;
mod report;
mod schema;
mod section;
mod source;
mod supervisor;
mod tree;
mod unit;
mod words;

pub use agent::agent_from_toml;
pub use cluster::{Cluster, NATS_FORMS, nats_server};
pub use hive::{AGENTS_MAX, MANIFEST_BYTES_MAX, Manifest, load, parse, parse_as};
pub use keys::{Form, Key, ROOT, find_key};
pub use problem::{Code, LoadError, Problem, Rejected, Severity, UnknownKeys};
pub use schema::schema;
pub use unit::{duration_ms, shown_bytes, shown_ms, size_bytes};

#[cfg(test)]
mod tests;
