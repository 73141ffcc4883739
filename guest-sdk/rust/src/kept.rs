//! The struct in the agent's state: loaded when an instance starts, written when a turn has changed it, put back when a
//! message is refused. State that cannot be read is an error for an operator, never a fresh start.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::agent::Agent;
use crate::error::StateError;
use crate::host::state;

/// Where the struct is kept. Every key that starts with `skep.` is the SDK's.
pub(crate) const SELF_KEY: &str = "skep.self";

/// How a struct is kept. Made by `#[agent(persist)]`.
#[doc(hidden)]
pub struct Persist<A> {
    pub version: u32,
    pub save: fn(&A, &mut Vec<u8>) -> serde_json::Result<()>,
    /// Leaves the fields that are not kept as they are.
    pub load: fn(&mut A, &str) -> serde_json::Result<()>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    version: u32,
    #[serde(borrow)]
    state: &'a RawValue,
}

/// What another version of the plugin has stored, for `migrate`.
#[derive(Clone, Debug)]
pub struct Stored {
    version: u32,
    digest: String,
    json: Option<String>,
}

impl Stored {
    /// The version of the stored struct; 0 if none is stored.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The digest of the plugin that stored it.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The stored struct, as the type that it was then.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, StateError> {
        let json = self.json.as_deref().ok_or_else(|| StateError::Mismatch("no struct is stored".to_owned()))?;
        serde_json::from_str(json).map_err(|error| StateError::Mismatch(error.to_string()))
    }
}

/// The stored form of a struct and how the struct in memory relates to it.
#[derive(Default)]
pub(crate) struct Kept {
    /// The struct as it was when `dirty` was last false.
    current: Vec<u8>,
    /// The struct may differ from `current`.
    dirty: bool,
    /// `current` is not written yet.
    unsaved: bool,
}

impl Kept {
    /// Reads the struct into `agent`; false if nothing is stored.
    pub(crate) fn load<A>(&mut self, persist: &Persist<A>, agent: &mut A) -> Result<bool, String> {
        let Some(bytes) = state::get(SELF_KEY) else { return Ok(false) };
        let (version, json) = open(&bytes)?;
        if version != persist.version {
            let want = persist.version;
            return Err(format!(
                "the stored state has version {version}, this plugin has {want} and did not migrate it"
            ));
        }
        (persist.load)(agent, json).map_err(|error| format!("the stored state cannot be read: {error}"))?;
        self.current = bytes;
        Ok(true)
    }

    /// What is stored, for `migrate`.
    pub(crate) fn stored(digest: String) -> Result<Stored, String> {
        let Some(bytes) = state::get(SELF_KEY) else { return Ok(Stored { version: 0, digest, json: None }) };
        let (version, json) = open(&bytes)?;
        Ok(Stored { version, digest, json: Some(json.to_owned()) })
    }

    /// The struct is about to be changed.
    pub(crate) fn touch(&mut self) {
        self.dirty = true;
    }

    /// Whether the struct can be put back to what it is now.
    pub(crate) fn exact(&self) -> bool {
        !self.dirty
    }

    /// Brings `current` up to date without writing.
    pub(crate) fn settle<A: Agent>(&mut self, agent: &A) -> Result<(), String> {
        if let Some(new) = self.changed(agent)? {
            self.current = new;
            self.unsaved = true;
        }
        self.dirty = false;
        Ok(())
    }

    /// Writes the struct if it has changed. An error changes nothing.
    pub(crate) fn save<A: Agent>(&mut self, agent: &A) -> Result<(), String> {
        if let Some(new) = self.changed(agent)? {
            put(&new)?;
            self.current = new;
        } else if self.unsaved {
            put(&self.current)?;
        }
        self.unsaved = false;
        self.dirty = false;
        Ok(())
    }

    /// Puts the struct back to what it was when it was last exact.
    pub(crate) fn restore<A: Agent>(&mut self, agent: &mut A) -> Result<(), String> {
        if let Some(persist) = A::PERSIST.filter(|_| self.dirty) {
            let (_, json) = open(&self.current)?;
            (persist.load)(agent, json).map_err(|error| format!("the struct cannot be put back: {error}"))?;
        }
        self.dirty = false;
        Ok(())
    }

    fn changed<A: Agent>(&self, agent: &A) -> Result<Option<Vec<u8>>, String> {
        let Some(persist) = A::PERSIST.filter(|_| self.dirty) else { return Ok(None) };
        let mut new = Vec::with_capacity(self.current.len().saturating_add(16));
        new.extend_from_slice(format!("{{\"version\":{},\"state\":", persist.version).as_bytes());
        (persist.save)(agent, &mut new).map_err(|error| format!("the struct cannot be stored: {error}"))?;
        new.push(b'}');
        Ok((new != self.current).then_some(new))
    }
}

fn open(bytes: &[u8]) -> Result<(u32, &str), String> {
    let envelope: Envelope<'_> =
        serde_json::from_slice(bytes).map_err(|error| format!("the stored state is no state of this SDK: {error}"))?;
    Ok((envelope.version, envelope.state.get()))
}

fn put(bytes: &[u8]) -> Result<(), String> {
    state::put(SELF_KEY, bytes).map_err(|error| format!("the struct cannot be stored: {}", StateError::lift(error)))
}
