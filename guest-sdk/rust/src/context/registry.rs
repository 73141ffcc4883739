//! Who is there and what it can do.

use super::Context;
use crate::address::Address;
use crate::error::{Result, SendError};
use crate::host::registry;

/// The registry of the hive.
#[derive(Clone, Copy, Debug)]
pub struct Registry(());

/// What is known of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is reached.
    pub agent: Address,
    /// Words of what it can do.
    pub capabilities: Vec<String>,
    /// The coordination protocols that it takes part in.
    pub protocols: Vec<String>,
    /// Anything else that it says of itself.
    pub metadata: Vec<(String, String)>,
}

impl Context {
    /// The registry of the hive.
    pub fn registry(&self) -> Registry {
        Registry(())
    }
}

impl Registry {
    /// Says what this agent can do; replaces what it said before. With the commit. At most 64 of each.
    pub fn register(
        &self,
        capabilities: &[&str],
        protocols: &[&str],
        metadata: &[(&str, &str)],
    ) -> Result<(), SendError> {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let metadata: Vec<_> = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        registry::register(&owned(capabilities), &owned(protocols), &metadata).map_err(SendError::lift)
    }

    /// None if there is no such agent now.
    pub fn lookup(&self, name: &str) -> Option<Entry> {
        let entry = registry::lookup(name)?;
        Some(Entry {
            agent: Address::new(entry.name),
            capabilities: entry.capabilities,
            protocols: entry.protocols,
            metadata: entry.metadata,
        })
    }

    /// Agents that have the capability, by name, after `after`: at most `limit`, at most 1,000.
    pub fn find(&self, capability: &str, after: Option<&Address>, limit: u32) -> Vec<Address> {
        addresses(registry::find(capability, after.map(Address::name), limit))
    }

    /// Agents that speak the protocol, likewise.
    pub fn speakers(&self, protocol: &str, after: Option<&Address>, limit: u32) -> Vec<Address> {
        addresses(registry::speakers(protocol, after.map(Address::name), limit))
    }

    /// Joins a group with the commit; being in it is no error.
    pub fn join(&self, group: &str) -> Result<(), SendError> {
        registry::join(group).map_err(SendError::lift)
    }

    /// Leaves a group with the commit; not being in it is no error.
    pub fn leave(&self, group: &str) {
        registry::leave(group);
    }

    /// The members of a group, as [`Registry::find`].
    pub fn members(&self, group: &str, after: Option<&Address>, limit: u32) -> Vec<Address> {
        addresses(registry::members(group, after.map(Address::name), limit))
    }
}

fn addresses(numbers: Vec<u32>) -> Vec<Address> {
    numbers.into_iter().filter_map(Address::numbered).collect()
}
