//! `supervision`: other agents' lives, as effects. Names of children are reserved at once. Never starts or ends
//! anything.

use skep_core::spec::{Durability, Restart};
use skep_core::turn::{ChildRequest, Effect};
use skep_core::{AgentId, SendError};

use super::name;
use crate::bindings::skep::agent::supervision::{self as own, Child, Host};
use crate::bindings::skep::agent::types as wit;
use crate::convert;
use crate::ctx::Ctx;
use crate::failure::Halt;
use crate::host::{Handle, TurnHost};

/// The longest configuration of a child, in bytes.
const CONFIG_BYTES_MAX: usize = 256 << 10;

type Done = wasmtime::Result<Result<(), wit::SendError>>;

impl<H: TurnHost> Host for Ctx<H> {
    fn spawn(&mut self, child: Child) -> wasmtime::Result<Result<u32, wit::SendError>> {
        let request = self.may_act()?.and_then(|()| request(child)).and_then(|request| {
            let id = self.host.reserve_child(&request)?;
            Ok(ChildRequest { id, ..request })
        });
        let request = match request {
            Ok(request) => request,
            Err(error) => return Ok(Err(convert::send_error_to_wit(error))),
        };
        let number = self.numbers.of_text(request.name.as_str())?;
        self.turn()?.push(Effect::Spawn(Box::new(request)));
        Ok(Ok(number))
    }

    fn stop(&mut self, agent: u32, reason: wit::ExitReasonResult) -> Done {
        let reason = convert::exit_reason(reason);
        self.act(agent, |ctx, agent| {
            if ctx.host.is_child(agent) { Ok(Effect::Stop { agent, reason }) } else { Err(SendError::Absent) }
        })
    }

    fn exit(&mut self, reason: wit::ExitReasonResult) -> wasmtime::Result<()> {
        self.turn()?.push(Effect::Exit(convert::exit_reason(reason)));
        Ok(())
    }

    fn link(&mut self, agent: u32) -> Done {
        self.act(agent, |ctx, agent| {
            ctx.host.may_hold(Handle::Other)?;
            Ok(Effect::Link { agent, on: true })
        })
    }

    fn unlink(&mut self, agent: u32) -> wasmtime::Result<()> {
        Ok(self.end(agent, |agent| Effect::Link { agent, on: false })?)
    }

    fn monitor(&mut self, agent: u32) -> Done {
        self.act(agent, |ctx, agent| {
            ctx.host.may_hold(Handle::Other)?;
            Ok(Effect::Monitor { agent, on: true })
        })
    }

    fn demonitor(&mut self, agent: u32) -> wasmtime::Result<()> {
        Ok(self.end(agent, |agent| Effect::Monitor { agent, on: false })?)
    }
}

impl<H: TurnHost> Ctx<H> {
    /// An effect on an agent of that number, if there is one.
    fn act(&mut self, number: u32, effect: impl FnOnce(&mut Self, AgentId) -> Result<Effect, SendError>) -> Done {
        let effect = self.may_act()?.and_then(|()| {
            let agent = self.numbers.agent(number, &self.host).ok_or(SendError::Absent)?;
            effect(self, agent)
        });
        match effect {
            Ok(effect) => self.turn()?.push(effect),
            Err(error) => return Ok(Err(convert::send_error_to_wit(error))),
        }
        Ok(Ok(()))
    }

    /// Ends what there may be with an agent; with nobody there is nothing.
    fn end(&mut self, number: u32, effect: impl FnOnce(AgentId) -> Effect) -> Result<(), Halt> {
        if let Some(agent) = self.numbers.agent(number, &self.host) {
            self.turn()?.push(effect(agent));
        }
        Ok(())
    }
}

fn request(child: Child) -> Result<ChildRequest, SendError> {
    if child.config.len() > CONFIG_BYTES_MAX {
        let bytes = child.config.len();
        return Err(SendError::Invalid(format!("a configuration of {bytes} bytes; {CONFIG_BYTES_MAX} is the most")));
    }
    let is_object = matches!(serde_json::from_str(&child.config), Ok(serde_json::Value::Object(_)));
    if !is_object {
        return Err(SendError::Invalid("the configuration is not a JSON object".to_owned()));
    }
    Ok(ChildRequest {
        // The host gives the number with the name.
        id: AgentId::OUTSIDE,
        name: name(&child.name)?,
        plugin: if child.plugin.is_empty() { None } else { Some(name(&child.plugin)?) },
        config_json: child.config,
        restart: match child.restart {
            own::Restart::Permanent => Restart::Permanent,
            own::Restart::Transient => Restart::Transient,
            own::Restart::Temporary => Restart::Temporary,
        },
        durability: match child.durability {
            own::Durability::None => Durability::None,
            own::Durability::Process => Durability::Process,
            own::Durability::Full => Durability::Full,
        },
        owned: child.owned,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::skep::agent::turn::Host as _;
    use crate::testing::{ctx, turn};

    fn child(name: &str, config: &str) -> Child {
        Child {
            name: name.to_owned(),
            plugin: String::new(),
            config: config.to_owned(),
            restart: own::Restart::Temporary,
            durability: own::Durability::None,
            owned: true,
        }
    }

    #[test]
    fn a_child_gets_the_number_that_is_reserved_for_it() {
        let mut ctx = ctx(turn(1));
        assert!(ctx.spawn(child("worker", "{}")).unwrap().is_err(), "before begin");
        ctx.begin(0).unwrap();
        let number = ctx.spawn(child("worker", "{}")).unwrap().unwrap();
        assert_eq!(ctx.numbers.name(number).unwrap().as_str(), "worker");
        let [Effect::Spawn(request)] = ctx.turn().unwrap().effects() else { panic!() };
        assert_eq!((request.id, request.plugin.clone(), request.owned), (AgentId(9), None, true));
    }

    #[test]
    fn refuses_names_and_configurations_that_are_none() {
        let mut ctx = ctx(turn(1));
        ctx.begin(0).unwrap();
        for (name, config) in [("not a name", "{}"), ("worker", "[]"), ("worker", "{")] {
            assert!(matches!(ctx.spawn(child(name, config)).unwrap(), Err(wit::SendError::Invalid(_))));
        }
        assert!(ctx.turn().unwrap().effects().is_empty());
    }
}
