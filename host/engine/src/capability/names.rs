//! `names`: numbers for names, names for numbers. Never whether there is an agent of a name.

use crate::bindings::skep::agent::names::Host;
use crate::ctx::Ctx;
use crate::host::TurnHost;

impl<H: TurnHost> Host for Ctx<H> {
    fn number_of(&mut self, name: String) -> wasmtime::Result<u32> {
        self.turn()?;
        Ok(self.numbers.of_text(&name)?)
    }

    fn name_of(&mut self, of: u32) -> wasmtime::Result<Option<String>> {
        Ok(self.numbers.name(of).map(|name| name.as_str().to_owned()))
    }

    fn self_name(&mut self) -> wasmtime::Result<String> {
        Ok(self.host.name().as_str().to_owned())
    }
}
