//! For tests of this room: a host that says yes to everything, and a guest that is written by hand. Never for others: the
//! guests of the repository are in `tests/guests`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use skep_core::event::What;
use skep_core::turn::{ChildRequest, Profile, Turn};
use skep_core::{AgentId, AskFailure, Channel, Class, Lineage, Message, MessageId, Name, Origin, SendError};

use crate::ctx::Ctx;
use crate::engine::{Engine, EngineOptions};
use crate::failure::Failure;
use crate::host::{Find, Handle, Health, Room, StatePage, StateUnreadable, TurnHost};
use crate::instance::Instance;
use crate::limits::{Limits, Meter};
use crate::plugin::Plugin;
use crate::ticker::{Cpu, Ticker};

/// Says yes, and remembers what it was told.
pub(crate) struct Yes {
    name: Name,
    pub(crate) state: BTreeMap<Bytes, Bytes>,
    pub(crate) state_bytes: i64,
    pub(crate) events: Arc<Mutex<Vec<What>>>,
    /// Who is subscribed to everything.
    pub(crate) subscribers: Vec<AgentId>,
    /// What `reserve` says: reserved unless there is something here.
    pub(crate) rooms: Vec<Room>,
}

impl Yes {
    pub(crate) fn new() -> Self {
        Self {
            name: Name::new("me").unwrap(),
            state: BTreeMap::new(),
            state_bytes: 0,
            events: Arc::default(),
            subscribers: Vec::new(),
            rooms: Vec::new(),
        }
    }
}

impl TurnHost for Yes {
    fn name(&self) -> &Name {
        &self.name
    }

    fn lineage(&self) -> Lineage {
        Lineage(1)
    }

    fn config_json(&self) -> &str {
        "{}"
    }

    fn body_bytes_max(&self) -> u32 {
        1 << 20
    }

    fn monotonic_ns(&self) -> u64 {
        1
    }

    fn wall_ns(&self) -> u64 {
        2
    }

    fn resolve(&self, name: &Name) -> Option<AgentId> {
        Some(AgentId(if *name == self.name { 1 } else { 2 }))
    }

    fn name_of(&self, agent: AgentId) -> Option<Name> {
        Name::new(&format!("agent-{}", agent.0)).ok()
    }

    fn route(&self, asked: Option<Channel>, _kind: &Name) -> Channel {
        asked.unwrap_or(Channel::Events)
    }

    fn reserve(&mut self, _to: AgentId, _channel: Channel, _weight_bytes: usize, _ask: bool) -> Room {
        self.rooms.pop().unwrap_or(Room::Reserved)
    }

    async fn wait_for_room(&mut self, _: AgentId, _: Channel, _: usize, _: bool) -> Result<(), SendError> {
        Err(SendError::Full)
    }

    fn reserve_subscribers(&mut self, _topic: &str, _weight_bytes: usize) -> Result<Vec<AgentId>, SendError> {
        Ok(self.subscribers.clone())
    }

    fn owes(&self, _ask: MessageId) -> bool {
        true
    }

    async fn call(&mut self, _cause: MessageId, _to: AgentId, message: Message) -> Result<Bytes, AskFailure> {
        Ok(message.body)
    }

    async fn read_state(&mut self, keys: Vec<Bytes>) -> Result<Vec<Option<Bytes>>, StateUnreadable> {
        Ok(keys.iter().map(|key| self.state.get(key).cloned()).collect())
    }

    async fn scan_state(
        &mut self,
        prefix: Bytes,
        after: Option<Bytes>,
        bytes_max: usize,
    ) -> Result<StatePage, StateUnreadable> {
        let mut page = StatePage::default();
        let mut used = 0;
        for (key, value) in self.state.iter().filter(|(key, _)| key.starts_with(&prefix) && Some(*key) > after.as_ref())
        {
            if used >= bytes_max {
                page.more = true;
                break;
            }
            used += key.len() + value.len();
            page.entries.push((key.clone(), value.clone()));
        }
        Ok(page)
    }

    fn reserve_state(&mut self, change_bytes: i64) -> Result<(), String> {
        if self.state_bytes + change_bytes > 1_000 {
            return Err("over 1000".to_owned());
        }
        self.state_bytes += change_bytes;
        Ok(())
    }

    fn may_subscribe(&mut self, _pattern: &str) -> Result<(), SendError> {
        Ok(())
    }

    fn may_hold(&mut self, _what: Handle) -> Result<(), SendError> {
        Ok(())
    }

    fn reserve_child(&mut self, _request: &ChildRequest) -> Result<AgentId, SendError> {
        Ok(AgentId(9))
    }

    fn is_child(&self, _agent: AgentId) -> bool {
        true
    }

    fn profile(&self, _agent: AgentId) -> Option<Profile> {
        None
    }

    fn find(&self, _by: Find<'_>, _after: Option<&Name>, _count_max: usize) -> Vec<AgentId> {
        Vec::new()
    }

    fn begun(&mut self, _origin: Option<Origin>) {}

    fn event(&mut self, what: What) {
        self.events.lock().push(what);
    }

    fn health(&mut self, _health: Health) {}
}

/// A guest by hand: what its functions do, as text of WebAssembly.
pub(crate) struct Guest {
    /// Of the world: `(import …)` of instances, and core instances made of them for the module.
    pub(crate) imports: &'static str,
    /// The arguments of the core instance.
    pub(crate) with: &'static str,
    /// More of the core module.
    pub(crate) module: String,
    /// The body of `describe`; `$ok` gives the traits.
    pub(crate) describe: &'static str,
    /// The body of `handle`, with `$names` and `$messages`, the lengths of the lists. `$done` ends it well.
    pub(crate) handle: String,
    /// The memory that it has at first, in pages.
    pub(crate) pages: u32,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            imports: "",
            with: "",
            module: String::new(),
            describe: "i32.const 16",
            handle: "(call $done (local.get $messages))".to_owned(),
            pages: 1,
        }
    }
}

impl Guest {
    pub(crate) fn handling(handle: &str) -> Self {
        Self { handle: handle.to_owned(), ..Self::default() }
    }

    pub(crate) fn text(&self) -> String {
        include_str!("testing.wat")
            .replace("@IMPORTS@", self.imports)
            .replace("@WITH@", self.with)
            .replace("@MODULE@", &self.module)
            .replace("@DESCRIBE@", self.describe)
            .replace("@HANDLE@", &self.handle)
            .replace("@PAGES@", &self.pages.to_string())
    }

    pub(crate) fn plugin(&self) -> Plugin {
        plugin(&self.text())
    }

    /// An instance of it with a host of its own, in an engine of its own.
    pub(crate) async fn instance(&self, limits: Limits) -> Result<Instance<Yes>, Failure> {
        let engine = engine();
        let component = engine.compile(&self.plugin()).unwrap();
        engine.instantiate(&component, Yes::new(), limits).await
    }
}

pub(crate) fn plugin(text: &str) -> Plugin {
    Plugin::from_bytes(wat::parse_str(text).unwrap().into(), Path::new("by-hand.wasm"))
}

/// With a small pool, so that it is made quickly.
pub(crate) fn engine() -> Engine<Yes> {
    Engine::new(EngineOptions { live_instances_max: Some(4), ..EngineOptions::default() }).unwrap()
}

pub(crate) fn message(id: u128) -> Message {
    Message {
        id: MessageId(id),
        sender: AgentId(3),
        kind: Name::new("kind").unwrap(),
        channel: Channel::Events,
        class: Class::Tell,
        failed_turns: 0,
        hops: 0,
        accepted_ns: 5,
        row: None,
        body: Bytes::from_static(b"body"),
        rare: None,
    }
}

/// The books of an instance in which this turn runs, for capabilities that are called without a guest.
pub(crate) fn ctx(turn: Turn) -> Ctx<Yes> {
    let ticker = Ticker::start().unwrap();
    let mut ctx = Ctx::new(Yes::new(), Meter::new(&Limits::default()), Cpu::new(1_000, ticker.clock()), None);
    ctx.open(turn);
    ctx
}

/// A turn over so many messages.
pub(crate) fn turn(count: u128) -> Turn {
    Turn::over((1..=count).map(|id| message(id).into()).collect(), false)
}
