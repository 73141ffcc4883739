//! `registry`: who is there and what it can do. Reads are answered at once, what is said is an effect. Never keeps what
//! is registered.

use skep_core::turn::{Effect, Profile};
use skep_core::{AgentId, Name, SendError};

use super::name;
use crate::bindings::skep::agent::registry::{Entry, Host};
use crate::bindings::skep::agent::types as wit;
use crate::convert;
use crate::ctx::Ctx;
use crate::host::{Find, Handle, TurnHost};

/// The most capabilities, protocols, and entries of metadata of one agent.
const WORDS_MAX: usize = 64;
/// The most bytes of all metadata of one agent.
const METADATA_BYTES_MAX: usize = 8 << 10;
/// The most agents of one answer.
const FOUND_MAX: usize = 1_000;

impl<H: TurnHost> Host for Ctx<H> {
    fn register(
        &mut self,
        capabilities: Vec<String>,
        protocols: Vec<String>,
        metadata: Vec<(String, String)>,
    ) -> wasmtime::Result<Result<(), wit::SendError>> {
        let profile = self.may_act()?.and_then(|()| profile(&capabilities, &protocols, metadata));
        match profile {
            Ok(profile) => self.turn()?.push(Effect::Register(Box::new(profile))),
            Err(error) => return Ok(Err(convert::send_error_to_wit(error))),
        }
        Ok(Ok(()))
    }

    fn lookup(&mut self, text: String) -> wasmtime::Result<Option<Entry>> {
        self.turn()?;
        let Some(agent) = name(&text).ok().and_then(|name| self.host.resolve(&name)) else { return Ok(None) };
        let number = self.numbers.of_agent(agent, &self.host)?;
        let profile = self.host.profile(agent).unwrap_or_default();
        Ok(Some(Entry {
            agent: number,
            name: text,
            capabilities: words(&profile.capabilities),
            protocols: words(&profile.protocols),
            metadata: profile.metadata,
        }))
    }

    fn find(&mut self, capability: String, cursor: Option<String>, limit: u32) -> wasmtime::Result<Vec<u32>> {
        self.found(&capability, cursor, limit, |name| Find::Capability(name))
    }

    fn speakers(&mut self, protocol: String, cursor: Option<String>, limit: u32) -> wasmtime::Result<Vec<u32>> {
        self.found(&protocol, cursor, limit, |name| Find::Protocol(name))
    }

    fn join(&mut self, group: String) -> wasmtime::Result<Result<(), wit::SendError>> {
        let checked = self.may_act()?.and_then(|()| {
            self.host.may_hold(Handle::Other)?;
            name(&group)
        });
        match checked {
            Ok(group) => self.turn()?.push(Effect::Group { group, join: true }),
            Err(error) => return Ok(Err(convert::send_error_to_wit(error))),
        }
        Ok(Ok(()))
    }

    fn leave(&mut self, group: String) -> wasmtime::Result<()> {
        // What is no name is no group's.
        if let Ok(group) = name(&group) {
            self.turn()?.push(Effect::Group { group, join: false });
        }
        Ok(())
    }

    fn members(&mut self, group: String, cursor: Option<String>, limit: u32) -> wasmtime::Result<Vec<u32>> {
        self.found(&group, cursor, limit, |name| Find::Group(name))
    }
}

impl<H: TurnHost> Ctx<H> {
    fn found(
        &mut self,
        word: &str,
        cursor: Option<String>,
        limit: u32,
        by: impl for<'a> Fn(&'a Name) -> Find<'a>,
    ) -> wasmtime::Result<Vec<u32>> {
        self.turn()?;
        // What is no name is nobody's.
        let Ok(word) = name(word) else { return Ok(Vec::new()) };
        let after = cursor.as_deref().and_then(|cursor| name(cursor).ok());
        let agents: Vec<AgentId> = self.host.find(by(&word), after.as_ref(), (limit as usize).min(FOUND_MAX));
        let numbers: Result<Vec<u32>, _> =
            agents.into_iter().map(|agent| self.numbers.of_agent(agent, &self.host)).collect();
        Ok(numbers?)
    }
}

fn words(names: &[Name]) -> Vec<String> {
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

fn profile(
    capabilities: &[String],
    protocols: &[String],
    metadata: Vec<(String, String)>,
) -> Result<Profile, SendError> {
    for (what, count) in
        [("capabilities", capabilities.len()), ("protocols", protocols.len()), ("entries of metadata", metadata.len())]
    {
        if count > WORDS_MAX {
            return Err(SendError::Invalid(format!("{count} {what}; {WORDS_MAX} is the most")));
        }
    }
    let bytes: usize = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(SendError::Invalid(format!("metadata of {bytes} bytes; {METADATA_BYTES_MAX} is the most")));
    }
    let names = |words: &[String]| words.iter().map(|word| name(word)).collect::<Result<Vec<_>, _>>();
    Ok(Profile { capabilities: names(capabilities)?, protocols: names(protocols)?, metadata })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::skep::agent::turn::Host as _;
    use crate::testing::{ctx, turn};

    #[test]
    fn refuses_more_words_than_are_kept() {
        let mut ctx = ctx(turn(1));
        ctx.begin(0).unwrap();
        let words = |count: usize| (0..count).map(|word| format!("w{word}")).collect::<Vec<_>>();
        assert!(ctx.register(words(64), words(64), Vec::new()).unwrap().is_ok());
        assert!(ctx.register(words(65), Vec::new(), Vec::new()).unwrap().is_err());
        assert!(ctx.register(vec!["not a name".to_owned()], Vec::new(), Vec::new()).unwrap().is_err());
        assert!(ctx.register(Vec::new(), Vec::new(), vec![("k".to_owned(), "v".repeat(9_000))]).unwrap().is_err());
        assert_eq!(ctx.turn().unwrap().effects().len(), 1);
    }

    #[test]
    fn what_is_no_name_is_nobodys() {
        let mut ctx = ctx(turn(1));
        assert!(ctx.lookup("not a name".to_owned()).unwrap().is_none());
        assert_eq!(ctx.lookup("other".to_owned()).unwrap().unwrap().name, "other");
        assert!(ctx.members(String::new(), None, 5).unwrap().is_empty());
    }
}
