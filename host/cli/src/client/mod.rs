//! Talks to a running host: HTTP and JSON over its Unix socket, with the shapes of [`crate::api::types`]. Never waits
//! without a limit, and never retries by itself.

mod connection;
mod find;
mod lines;

pub use connection::{Connection, Outgoing};
pub use find::{data_dir, data_dir_origin, find_data_dir};
pub use lines::Lines;
