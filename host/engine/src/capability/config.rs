//! `config`: the agent's configuration, as its manifest has it. Never changes it.

use serde_json::Value;

use crate::bindings::skep::agent::config::Host;
use crate::ctx::Ctx;
use crate::host::TurnHost;

impl<H: TurnHost> Host for Ctx<H> {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        // The host has checked that it is an object; agents read it once, when they start.
        let config: Value = serde_json::from_str(self.host.config_json()).unwrap_or_default();
        Ok(config.get(&key).map(Value::to_string))
    }

    fn all(&mut self) -> wasmtime::Result<String> {
        Ok(self.host.config_json().to_owned())
    }
}
