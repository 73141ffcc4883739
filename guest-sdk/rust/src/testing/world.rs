//! What the test plays for one agent: its state, what it asks for, and what the test has laid out for it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::bindings::skep::agent as wit;
use crate::host::types;
use crate::id::Id;
use wit::message::Meta;

/// What an agent has asked for, in order, with names for numbers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is the method of `Context` of that name, each field its argument")]
pub enum Effect {
    Send { to: String, kind: String, body: Vec<u8>, headers: Vec<(String, String)> },
    Ask { id: Id, to: String, kind: String, body: Vec<u8>, deadline_ms: u32 },
    Reply { to: Id, body: Vec<u8> },
    Publish { topic: String, kind: String, body: Vec<u8> },
    Subscribe(String),
    Unsubscribe(String),
    Timer { name: String, after_ms: u32, every: bool, body: Vec<u8> },
    Cancel(String),
    Register(Vec<String>),
    Join(String),
    Leave(String),
    Spawn { name: String, plugin: String },
    Stop(String),
    Exit(types::ExitReason),
    Link(String),
    Unlink(String),
    Monitor(String),
    Demonitor(String),
}

/// What is rare about a message.
#[derive(Clone)]
pub(crate) struct Rare {
    pub(crate) meta: Meta,
    pub(crate) failure: Option<types::AskError>,
}

type Callee = Box<dyn FnMut(&str, &str, &[u8]) -> Result<Vec<u8>, types::AskError>>;

#[derive(Default)]
pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) config: String,
    pub(crate) state: BTreeMap<String, Vec<u8>>,
    pub(crate) state_bytes_max: Option<usize>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) absent: BTreeSet<String>,
    pub(crate) callee: Option<Callee>,
    pub(crate) batch: Vec<Rare>,
    pub(crate) refused: Vec<(u32, types::Refusal)>,
    pub(crate) health: String,
    pub(crate) now_ns: u64,
    pub(crate) puts: usize,
    begun: Option<(u32, usize, BTreeMap<String, Vec<u8>>)>,
    ids: u64,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    static NAMES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Runs with a world in place, and gives it back as it is then.
pub(crate) fn enter<T>(world: &mut World, run: impl FnOnce() -> T) -> T {
    WORLD.with_borrow_mut(|place| *place = Some(std::mem::take(world)));
    let result = run();
    WORLD.with_borrow_mut(|place| *world = place.take().unwrap_or_default());
    result
}

pub(crate) fn with<T>(run: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(|world| match world {
        Some(world) => run(world),
        None => unreachable!("an agent runs natively only in a `skep_sdk::testing::Testbed`"),
    })
}

/// Numbers are the same for all agents of a thread, as the SDK's own table is.
pub(crate) fn number(name: &str) -> u32 {
    NAMES.with_borrow_mut(|names| {
        let at = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        at as u32 + 1
    })
}

pub(crate) fn name(of: u32) -> Option<String> {
    NAMES.with_borrow(|names| names.get((of as usize).checked_sub(1)?).cloned())
}

pub(crate) fn log(text: &str) {
    LOG.with_borrow_mut(|lines| lines.push(text.to_owned()));
}

pub(crate) fn take_log() -> Vec<String> {
    LOG.with_borrow_mut(std::mem::take)
}

impl World {
    pub(crate) fn of(config: &str) -> Self {
        Self { name: "agent".to_owned(), config: config.to_owned(), ..Self::default() }
    }

    /// A turn begins: its messages are laid out.
    pub(crate) fn open(&mut self, batch: Vec<Rare>) {
        self.batch = batch;
        self.begun = None;
        self.refused.clear();
    }

    pub(crate) fn begin(&mut self, index: u32) {
        assert!(self.begun.as_ref().is_none_or(|(last, ..)| *last < index), "begin({index}) is out of order");
        self.take_back_refused();
        self.begun = Some((index, self.effects.len(), self.state.clone()));
    }

    pub(crate) fn refuse(&mut self, index: u32, why: types::Refusal) {
        assert!(self.begun.as_ref().is_some_and(|(last, ..)| *last == index), "refuse({index}) is out of order");
        self.refused.push((index, why));
        self.take_back_refused();
    }

    /// What a refused message has asked for, before its refusal or after it, does not stand.
    pub(crate) fn take_back_refused(&mut self) {
        if let (Some((index, effects, state)), Some((refused, _))) = (&self.begun, self.refused.last())
            && index == refused
        {
            self.effects.truncate(*effects);
            self.state.clone_from(state);
        }
    }

    pub(crate) fn rare(&self, index: u32) -> Option<&Rare> {
        self.batch.get(index as usize)
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn receiver(&self, to: u32) -> Result<String, types::SendError> {
        let name = name(to).ok_or_else(|| types::SendError::Invalid("a number nobody told".to_owned()))?;
        if self.absent.contains(&name) { Err(types::SendError::Absent) } else { Ok(name) }
    }

    pub(crate) fn send(
        &mut self,
        to: u32,
        kind: u32,
        body: &[u8],
        headers: Vec<(String, String)>,
    ) -> Result<(u64, u64), types::SendError> {
        let to = self.receiver(to)?;
        let kind = name(kind).unwrap_or_default();
        self.effect(Effect::Send { to, kind, body: body.to_vec(), headers });
        Ok(self.new_id())
    }

    pub(crate) fn ask(
        &mut self,
        to: u32,
        kind: u32,
        body: &[u8],
        deadline_ms: u32,
    ) -> Result<(u64, u64), types::SendError> {
        let to = self.receiver(to)?;
        let id = self.new_id();
        let kind = name(kind).unwrap_or_default();
        self.effect(Effect::Ask { id: id.into(), to, kind, body: body.to_vec(), deadline_ms });
        Ok(id)
    }

    pub(crate) fn call(&mut self, to: u32, kind: u32, body: &[u8]) -> Result<Vec<u8>, types::AskError> {
        let to = self.receiver(to).map_err(types::AskError::NotSent)?;
        let kind = name(kind).unwrap_or_default();
        match &mut self.callee {
            Some(callee) => callee(&to, &kind, body),
            None => Err(types::AskError::NotSent(types::SendError::Absent)),
        }
    }

    pub(crate) fn put(&mut self, key: &str, value: &[u8]) -> Result<(), wit::state::StateError> {
        let others: usize =
            self.state.iter().filter(|(other, _)| *other != key).map(|(key, value)| key.len() + value.len()).sum();
        let total = others + key.len() + value.len();
        if self.state_bytes_max.is_some_and(|bytes_max| total > bytes_max) {
            return Err(wit::state::StateError::Quota(format!("{total} bytes")));
        }
        self.puts += 1;
        self.state.insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    pub(crate) fn scan(&self, prefix: &str, cursor: Option<&str>, limit_bytes: u32) -> wit::state::Page {
        let from = cursor.map_or_else(|| prefix.to_owned(), |cursor| format!("{cursor}\0"));
        let mut page = wit::state::Page { entries: Vec::new(), next: None };
        let mut left = limit_bytes as usize;
        for (key, value) in self.state.range(from..).take_while(|(key, _)| key.starts_with(prefix)) {
            let size = key.len() + value.len();
            if size > left && !page.entries.is_empty() {
                page.next = page.entries.last().map(|entry| entry.key.clone());
                break;
            }
            left = left.saturating_sub(size);
            page.entries.push(wit::state::Entry { key: key.clone(), value: value.clone() });
        }
        page
    }

    pub(crate) fn new_id(&mut self) -> (u64, u64) {
        self.ids += 1;
        (self.now_ns, self.ids)
    }

    /// The same in every run.
    pub(crate) fn random(&mut self) -> u64 {
        self.ids += 1;
        self.ids.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// What a test may lay out without thinking of the rest.
pub(crate) fn plain() -> Rare {
    Rare {
        failure: None,
        meta: Meta {
            in_reply_to: None,
            retry_of: None,
            topic: None,
            content_type: None,
            headers: Vec::new(),
            deadline: None,
            accepted: 0,
            traceparent: None,
            hops: 0,
            missed: 0,
        },
    }
}
