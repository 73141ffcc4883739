//! `health`: what the agent says of its own health. Never what follows from it.

use crate::bindings::skep::agent::health::{Host, Status};
use crate::ctx::Ctx;
use crate::failure::said;
use crate::host::{Health, TurnHost};

impl<H: TurnHost> Host for Ctx<H> {
    fn report(&mut self, status: Status) -> wasmtime::Result<()> {
        self.turn()?;
        self.host.health(match status {
            Status::Ok => Health::Ok,
            Status::Degraded(reason) => Health::Degraded(said(&reason)),
            Status::Failing(reason) => Health::Failing(said(&reason)),
        });
        Ok(())
    }
}
