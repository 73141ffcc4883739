//! What an agent shows of itself to those who watch: health and telemetry. Nothing depends on them.

use super::Context;
use crate::host::{health, telemetry};

/// How the agent is, in its own judgement. It is shown to operators and stays until the agent says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing to report.
    Ok,
    /// It works, but less well.
    Degraded(String),
    /// It does not do what it is for.
    Failing(String),
}

/// Numbers, events and spans. Names are `[a-z0-9_.]`, at most 64 bytes, at most 256 in an agent.
#[derive(Clone, Copy, Debug)]
pub struct Telemetry(());

impl Context {
    /// Says how the agent is. Takes effect at once.
    pub fn health(&self, health: Health) {
        health::report(&match health {
            Health::Ok => health::Status::Ok,
            Health::Degraded(reason) => health::Status::Degraded(reason),
            Health::Failing(reason) => health::Status::Failing(reason),
        });
    }

    /// Numbers, events and spans.
    pub fn telemetry(&self) -> Telemetry {
        Telemetry(())
    }
}

impl Telemetry {
    /// Adds to a counter.
    pub fn counter(&self, name: &str, add: u32) {
        telemetry::counter(name, add);
    }

    /// Sets a gauge.
    pub fn gauge(&self, name: &str, value: f64) {
        telemetry::gauge(name, value);
    }

    /// Adds a value to a histogram.
    pub fn histogram(&self, name: &str, value: f64) {
        telemetry::histogram(name, value);
    }

    /// An event of the agent's own.
    pub fn event(&self, name: &str, fields: &[(&str, &str)]) {
        let fields: Vec<_> = fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        telemetry::event(name, &fields);
    }

    /// Opens a span inside the one that is open. It ends when it is dropped, at the latest with the message.
    #[must_use = "a span ends when it is dropped"]
    pub fn span(&self, name: &str) -> Span {
        Span(telemetry::open_span(name))
    }
}

/// A span that is open.
#[derive(Debug)]
pub struct Span(u32);

impl Drop for Span {
    fn drop(&mut self) {
        telemetry::close_span(self.0);
    }
}
