//! The imports as a test plays them: the same names and types as the generated ones, over one `World` a thread.

use super::world::{Effect, with};
use crate::bindings::skep::agent as wit;

pub(crate) use wit::types;

pub(crate) mod turn {
    use super::*;

    pub(crate) fn begin(index: u32) {
        with(|world| world.begin(index));
    }

    pub(crate) fn refuse(index: u32, why: &types::Refusal) {
        with(|world| world.refuse(index, why.clone()));
    }
}

pub(crate) mod message {
    use super::*;
    pub use wit::message::Meta;

    pub(crate) fn get_meta(index: u32) -> Option<Meta> {
        with(|world| world.rare(index).map(|rare| rare.meta.clone()))
    }

    pub(crate) fn in_reply_to(index: u32) -> Option<(u64, u64)> {
        with(|world| world.rare(index).and_then(|rare| rare.meta.in_reply_to))
    }

    pub(crate) fn failure(index: u32) -> Option<types::AskError> {
        with(|world| world.rare(index).and_then(|rare| rare.failure.clone()))
    }
}

pub(crate) mod names {
    use super::*;

    pub(crate) fn number_of(name: &str) -> u32 {
        super::super::world::number(name)
    }

    pub(crate) fn name_of(of: u32) -> Option<String> {
        super::super::world::name(of)
    }

    pub(crate) fn self_name() -> String {
        with(|world| world.name.clone())
    }
}

pub(crate) mod messaging {
    use super::*;
    use crate::bindings::skep::agent::types::{AskError, SendError};
    pub(crate) use wit::messaging::Options;

    type Id = (u64, u64);

    fn plain() -> Options {
        Options { channel: None, content_type: None, headers: Vec::new() }
    }

    pub(crate) fn send(to: u32, kind: u32, body: &[u8]) -> Result<Id, SendError> {
        send_with(to, kind, body, &plain())
    }

    pub(crate) fn send_with(to: u32, kind: u32, body: &[u8], options: &Options) -> Result<Id, SendError> {
        with(|world| world.send(to, kind, body, options.headers.clone()))
    }

    pub(crate) fn reply(to: Id, body: &[u8]) -> Result<(), SendError> {
        with(|world| world.effect(Effect::Reply { to: to.into(), body: body.to_vec() }));
        Ok(())
    }

    pub(crate) fn publish(topic: &str, kind: u32, body: &[u8]) -> Result<u32, SendError> {
        let kind = names::name_of(kind).unwrap_or_default();
        with(|world| world.effect(Effect::Publish { topic: topic.to_owned(), kind, body: body.to_vec() }));
        Ok(0)
    }

    pub(crate) fn subscribe(pattern: &str) -> Result<(), SendError> {
        with(|world| world.effect(Effect::Subscribe(pattern.to_owned())));
        Ok(())
    }

    pub(crate) fn unsubscribe(pattern: &str) {
        with(|world| world.effect(Effect::Unsubscribe(pattern.to_owned())));
    }

    pub(crate) fn ask(to: u32, kind: u32, body: &[u8], deadline_ms: u32) -> Result<Id, SendError> {
        with(|world| world.ask(to, kind, body, deadline_ms))
    }

    pub(crate) fn call(to: u32, kind: u32, body: &[u8], _deadline_ms: u32) -> Result<Vec<u8>, AskError> {
        with(|world| world.call(to, kind, body))
    }
}

pub(crate) mod state {
    use super::*;
    pub(crate) use wit::state::{Entry, Page, StateError};

    pub(crate) fn get(key: &str) -> Option<Vec<u8>> {
        with(|world| world.state.get(key).cloned())
    }

    pub(crate) fn get_many(keys: &[String]) -> Vec<Option<Vec<u8>>> {
        keys.iter().map(|key| get(key)).collect()
    }

    pub(crate) fn put(key: &str, value: &[u8]) -> Result<(), StateError> {
        with(|world| world.put(key, value))
    }

    pub(crate) fn put_many(entries: &[Entry]) -> Result<(), StateError> {
        entries.iter().try_for_each(|entry| put(&entry.key, &entry.value))
    }

    pub(crate) fn delete(key: &str) {
        with(|world| world.state.remove(key));
    }

    pub(crate) fn scan(prefix: &str, cursor: Option<&str>, limit_bytes: u32) -> Page {
        with(|world| world.scan(prefix, cursor, limit_bytes))
    }
}

pub(crate) mod timers {
    use super::*;
    use crate::bindings::skep::agent::types::SendError;

    pub(crate) fn once(name: &str, after_ms: u32, body: &[u8]) -> Result<(), SendError> {
        set(name, after_ms, false, body)
    }

    pub(crate) fn every(name: &str, period_ms: u32, body: &[u8]) -> Result<(), SendError> {
        set(name, period_ms, true, body)
    }

    fn set(name: &str, after_ms: u32, every: bool, body: &[u8]) -> Result<(), SendError> {
        with(|world| world.effect(Effect::Timer { name: name.to_owned(), after_ms, every, body: body.to_vec() }));
        Ok(())
    }

    pub(crate) fn cancel(name: &str) {
        with(|world| world.effect(Effect::Cancel(name.to_owned())));
    }
}

pub(crate) mod registry {
    use super::*;
    use crate::bindings::skep::agent::types::SendError;
    pub(crate) use wit::registry::Entry;

    pub(crate) fn register(
        capabilities: &[String],
        _protocols: &[String],
        _metadata: &[(String, String)],
    ) -> Result<(), SendError> {
        with(|world| world.effect(Effect::Register(capabilities.to_vec())));
        Ok(())
    }

    pub(crate) fn lookup(_name: &str) -> Option<Entry> {
        None
    }

    pub(crate) fn find(_capability: &str, _cursor: Option<&str>, _limit: u32) -> Vec<u32> {
        Vec::new()
    }

    pub(crate) fn speakers(_protocol: &str, _cursor: Option<&str>, _limit: u32) -> Vec<u32> {
        Vec::new()
    }

    pub(crate) fn join(group: &str) -> Result<(), SendError> {
        with(|world| world.effect(Effect::Join(group.to_owned())));
        Ok(())
    }

    pub(crate) fn leave(group: &str) {
        with(|world| world.effect(Effect::Leave(group.to_owned())));
    }

    pub(crate) fn members(_group: &str, _cursor: Option<&str>, _limit: u32) -> Vec<u32> {
        Vec::new()
    }
}

pub(crate) mod config {
    use super::*;

    pub(crate) fn all() -> String {
        with(|world| world.config.clone())
    }
}

pub(crate) mod log {
    use super::*;
    pub use wit::log::Level;

    pub(crate) fn write(_level: Level, text: &str, _fields: &[(String, String)]) {
        // A panic of a test may be shown while the world is in use, or after it is gone.
        super::super::world::log(text);
    }
}

pub(crate) mod telemetry {
    pub(crate) fn counter(_name: &str, _add: u32) {}
    pub(crate) fn gauge(_name: &str, _value: f64) {}
    pub(crate) fn histogram(_name: &str, _value: f64) {}
    pub(crate) fn event(_name: &str, _fields: &[(String, String)]) {}
    pub(crate) fn open_span(_name: &str) -> u32 {
        0
    }
    pub(crate) fn close_span(_span: u32) {}
}

pub(crate) mod health {
    use super::*;
    pub(crate) use wit::health::Status;

    pub(crate) fn report(status: &Status) {
        let text = match status {
            Status::Ok => String::new(),
            Status::Degraded(reason) | Status::Failing(reason) => reason.clone(),
        };
        with(|world| world.health = text);
    }
}

pub(crate) mod supervision {
    use super::*;
    use crate::bindings::skep::agent::types::{ExitReason, SendError};
    pub(crate) use wit::supervision::Child;
    pub use wit::supervision::{Durability, Restart};

    pub(crate) fn spawn(child: &Child) -> Result<u32, SendError> {
        with(|world| world.effect(Effect::Spawn { name: child.name.clone(), plugin: child.plugin.clone() }));
        Ok(names::number_of(&child.name))
    }

    pub(crate) fn stop(agent: u32, _reason: &ExitReason) -> Result<(), SendError> {
        effect_on(agent, Effect::Stop)
    }

    pub(crate) fn exit(reason: &ExitReason) {
        with(|world| world.effect(Effect::Exit(reason.clone())));
    }

    pub(crate) fn link(agent: u32) -> Result<(), SendError> {
        effect_on(agent, Effect::Link)
    }

    pub(crate) fn unlink(agent: u32) {
        let _ = effect_on(agent, Effect::Unlink);
    }

    pub(crate) fn monitor(agent: u32) -> Result<(), SendError> {
        effect_on(agent, Effect::Monitor)
    }

    pub(crate) fn demonitor(agent: u32) {
        let _ = effect_on(agent, Effect::Demonitor);
    }

    fn effect_on(agent: u32, effect: impl FnOnce(String) -> Effect) -> Result<(), SendError> {
        let name = names::name_of(agent).ok_or(SendError::Absent)?;
        with(|world| world.effect(effect(name)));
        Ok(())
    }
}

pub(crate) mod clock {
    use super::*;

    pub(crate) fn now() -> u64 {
        with(|world| world.now_ns)
    }

    pub(crate) fn elapsed() -> u64 {
        0
    }
}

pub(crate) mod random {
    use super::*;

    pub(crate) fn next() -> u64 {
        with(|world| world.random())
    }

    pub(crate) fn bytes(count: u32) -> Vec<u8> {
        (0..count).map(|_| next() as u8).collect()
    }

    pub(crate) fn new_id() -> (u64, u64) {
        with(|world| world.new_id())
    }
}
