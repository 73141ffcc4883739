//! `clock`: time that stands still inside a cause, and a stopwatch. Never a timer.

use crate::bindings::skep::agent::clock::Host;
use crate::ctx::Ctx;
use crate::host::TurnHost;

impl<H: TurnHost> Host for Ctx<H> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.turn()?.accepted_ns())
    }

    fn elapsed(&mut self) -> wasmtime::Result<u64> {
        self.turn()?;
        Ok(self.elapsed_ns())
    }
}
