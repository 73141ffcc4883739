//! `timers`: named timers, as effects. Never a clock: the runtime counts from the commit.

use bytes::Bytes;
use skep_core::turn::Effect;

use super::{fits, name};
use crate::bindings::skep::agent::timers::Host;
use crate::bindings::skep::agent::types as wit;
use crate::convert;
use crate::ctx::Ctx;
use crate::host::{Handle, TurnHost};

impl<H: TurnHost> Host for Ctx<H> {
    fn once(&mut self, name: String, after_ms: u32, body: Vec<u8>) -> wasmtime::Result<Result<(), wit::SendError>> {
        self.set_timer(&name, after_ms, false, body)
    }

    fn every(&mut self, name: String, period_ms: u32, body: Vec<u8>) -> wasmtime::Result<Result<(), wit::SendError>> {
        if period_ms == 0 {
            return Ok(Err(wit::SendError::Invalid("a period of 0 ms; 1 is the least".to_owned())));
        }
        self.set_timer(&name, period_ms, true, body)
    }

    fn cancel(&mut self, text: String) -> wasmtime::Result<()> {
        // What is no name is no timer's.
        if let Ok(name) = name(&text) {
            self.turn()?.push(Effect::CancelTimer { name });
        }
        Ok(())
    }
}

impl<H: TurnHost> Ctx<H> {
    fn set_timer(
        &mut self,
        text: &str,
        after_ms: u32,
        every: bool,
        body: Vec<u8>,
    ) -> wasmtime::Result<Result<(), wit::SendError>> {
        let checked = self.may_act()?.and_then(|()| {
            fits(self, &body)?;
            let name = name(text)?;
            self.host.may_hold(Handle::Timer(&name))?;
            Ok(name)
        });
        let set = |name| Effect::SetTimer { name, after_ms, every, body: Bytes::from(body) };
        match checked {
            Ok(name) => self.turn()?.push(set(name)),
            Err(error) => return Ok(Err(convert::send_error_to_wit(error))),
        }
        Ok(Ok(()))
    }
}
