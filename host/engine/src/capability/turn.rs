//! `turn`: whose behalf the guest works on, and what it takes back. Never commits anything.

use crate::bindings::skep::agent::turn::Host;
use crate::bindings::skep::agent::types::Refusal;
use crate::convert;
use crate::ctx::Ctx;
use crate::failure::Halt;
use crate::host::TurnHost;

impl<H: TurnHost> Host for Ctx<H> {
    fn begin(&mut self, index: u32) -> wasmtime::Result<()> {
        self.end_cause();
        self.turn()?.begin(index).map_err(Halt::from)?;
        self.next_cause();
        Ok(())
    }

    fn refuse(&mut self, index: u32, why: Refusal) -> wasmtime::Result<()> {
        self.turn()?.refuse(index, convert::refusal(why)).map_err(Halt::from)?;
        let undone = std::mem::take(&mut self.state_change_bytes);
        if undone != 0 {
            // Giving back cannot be over a budget; after a removal it was within it before.
            let _ = self.host.reserve_state(-undone);
        }
        Ok(())
    }
}
