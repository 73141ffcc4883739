//! The admin API of a running host: HTTP and JSON over a Unix socket that only its owner can open. The commands are its
//! only users today. Never a decision: every request is one call of [`skep_runtime::Host`].

pub mod types;

mod convert;
mod events;
pub(crate) mod kinds;
mod messages;
mod problem;
mod routes;
mod server;
mod sessions;
pub mod socket;
pub mod text;

pub use convert::{body, event};
pub use routes::Api;
pub use server::serve;

#[cfg(test)]
mod shapes;
#[cfg(test)]
mod tests;
