//! Time, timers and chance. Time and ids are the same when a turn is repeated.

use std::time::Duration;

use super::Context;
use super::messages::millis;
use crate::body::Body;
use crate::error::{Result, SendError};
use crate::host::{clock, random, timers};
use crate::id::Id;

impl Context {
    /// When the host took the message that is being handled, since 1970. It does not move inside a handler.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(clock::now())
    }

    /// The time since the turn began, measured. For timing only: it differs when the turn is repeated.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(clock::elapsed())
    }

    /// Fires once, so long after the commit of this turn, as the `#[timer]` of this name. Again replaces.
    pub fn once(&mut self, name: &str, after: Duration) -> Result<(), SendError> {
        timers::once(name, after_ms(after), &[]).map_err(SendError::lift)
    }

    /// [`Context::once`] with something for [`crate::Timer::read`].
    pub fn once_with<T: Body>(&mut self, name: &str, after: Duration, body: &T) -> Result<(), SendError> {
        let body = body.encode().map_err(SendError::Invalid)?;
        timers::once(name, after_ms(after), &body).map_err(SendError::lift)
    }

    /// Fires every `period`, at least a millisecond. Ticks that were missed come as one.
    pub fn every(&mut self, name: &str, period: Duration) -> Result<(), SendError> {
        timers::every(name, millis(period), &[]).map_err(SendError::lift)
    }

    /// [`Context::every`] with something for [`crate::Timer::read`].
    pub fn every_with<T: Body>(&mut self, name: &str, period: Duration, body: &T) -> Result<(), SendError> {
        let body = body.encode().map_err(SendError::Invalid)?;
        timers::every(name, millis(period), &body).map_err(SendError::lift)
    }

    /// Removes a timer; none is no error. A firing that is in the mailbox already still comes.
    pub fn cancel(&mut self, name: &str) {
        timers::cancel(name);
    }

    /// 64 random bits. The same when the turn is repeated.
    pub fn random(&self) -> u64 {
        random::next()
    }

    /// Random bytes, at most 65,536: more trap.
    pub fn random_bytes(&self, count: u32) -> Vec<u8> {
        random::bytes(count)
    }

    /// A new id; ids ascend with the time of their causes.
    pub fn new_id(&self) -> Id {
        random::new_id().into()
    }
}

/// At once is allowed here.
fn after_ms(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
