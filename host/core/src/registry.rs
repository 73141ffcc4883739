//! Who is there, what it can do and which groups it is in. Never knows whether an agent runs: what it holds ends with
//! the agent, not with an instance.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use crate::id::AgentId;
use crate::name::Name;
use crate::similar::closest;
use crate::turn::Profile;

/// The most names that are looked through for one that is similar: 30 ms.
pub const SIMILAR_NAMES_MAX: usize = 100_000;

/// The names of a host's agents and what they say of themselves.
///
/// The hash map is only ever asked for a key, or looked through where order does not matter: the result of every method
/// depends on the contents alone. An agent that says nothing takes about 110 bytes beside its name.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    ids: HashMap<Name, AgentId>,
    agents: BTreeMap<AgentId, Entry>,
    capabilities: Index,
    protocols: Index,
    groups: Index,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Name,
    /// None for the many agents that say nothing.
    said: Option<Box<Said>>,
}

#[derive(Clone, Debug, Default)]
struct Said {
    profile: Profile,
    groups: BTreeSet<Name>,
}

/// By a word: who has it, in the order of the names.
type Index = BTreeMap<Name, BTreeMap<Name, AgentId>>;

/// What agents are found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// What they can do.
    Capability,
    /// What they speak.
    Protocol,
    /// What they are in.
    Group,
}

/// Why a name cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Taken {
    /// Another agent has the name.
    #[error("there is an agent {0} already")]
    Name(Name),
    /// The agent has another name.
    #[error("the agent's name is {0} already")]
    Agent(Name),
}

impl Registry {
    /// Gives a name to an agent. The same again is no error.
    pub fn reserve(&mut self, name: Name, id: AgentId) -> Result<(), Taken> {
        match (self.id_of(&name), self.agents.get(&id)) {
            (Some(holder), _) if holder != id => return Err(Taken::Name(name)),
            (None, Some(entry)) => return Err(Taken::Agent(entry.name.clone())),
            _ => {}
        }
        self.ids.insert(name.clone(), id);
        self.agents.entry(id).or_insert(Entry { name, said: None });
        Ok(())
    }

    /// Forgets an agent: its name is free again. Gives back its name, if it had one.
    pub fn remove(&mut self, id: AgentId) -> Option<Name> {
        let Entry { name, said } = self.agents.remove(&id)?;
        self.ids.remove(&name);
        if let Some(said) = said {
            remove_all(&mut self.capabilities, &said.profile.capabilities, &name);
            remove_all(&mut self.protocols, &said.profile.protocols, &name);
            remove_all(&mut self.groups, &said.groups, &name);
        }
        Some(name)
    }

    /// The agent of a name.
    pub fn id_of(&self, name: &Name) -> Option<AgentId> {
        self.ids.get(name).copied()
    }

    /// The agent of a text that may or may not be a name.
    pub fn find_text(&self, text: &str) -> Option<AgentId> {
        self.ids.get(text).copied()
    }

    /// The name of an agent.
    pub fn name_of(&self, id: AgentId) -> Option<&Name> {
        self.agents.get(&id).map(|entry| &entry.name)
    }

    /// How many agents have a name.
    pub fn len(&self) -> usize {
        self.agents.len()
    }

    /// Whether no agent has a name.
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    /// Keeps what an agent says of itself, in place of what it said before; false if there is no such agent. How much
    /// it may say is for the caller to bound.
    pub fn set_profile(&mut self, id: AgentId, profile: Profile) -> bool {
        let Some(entry) = self.agents.get_mut(&id) else { return false };
        let said = entry.said.get_or_insert_default();
        remove_all(&mut self.capabilities, &said.profile.capabilities, &entry.name);
        remove_all(&mut self.protocols, &said.profile.protocols, &entry.name);
        insert_all(&mut self.capabilities, &profile.capabilities, &entry.name, id);
        insert_all(&mut self.protocols, &profile.protocols, &entry.name, id);
        said.profile = profile;
        entry.tidy();
        true
    }

    /// What an agent has said of itself: none if it has said nothing.
    pub fn profile(&self, id: AgentId) -> Option<&Profile> {
        Some(&self.agents.get(&id)?.said.as_ref()?.profile)
    }

    /// Puts an agent into a group; false if it is in it, or there is no such agent.
    pub fn join(&mut self, id: AgentId, group: &Name) -> bool {
        let Some(entry) = self.agents.get_mut(&id) else { return false };
        let new = entry.said.get_or_insert_default().groups.insert(group.clone());
        if new {
            insert_all(&mut self.groups, [group], &entry.name, id);
        }
        new
    }

    /// Takes an agent out of a group; false if it is not in it.
    pub fn leave(&mut self, id: AgentId, group: &Name) -> bool {
        let Some(entry) = self.agents.get_mut(&id) else { return false };
        let was = entry.said.as_mut().is_some_and(|said| said.groups.remove(group));
        if was {
            remove_all(&mut self.groups, [group], &entry.name);
            entry.tidy();
        }
        was
    }

    /// The groups of an agent, in order.
    pub fn groups_of(&self, id: AgentId) -> impl Iterator<Item = &Name> {
        self.agents.get(&id).and_then(|entry| entry.said.as_ref()).into_iter().flat_map(|said| &said.groups)
    }

    /// The agents that have a word, in the order of their names, after a name (which need not be there), at most
    /// `count_max`.
    pub fn find(&self, by: By, word: &Name, after: Option<&Name>, count_max: usize) -> Vec<AgentId> {
        let index = match by {
            By::Capability => &self.capabilities,
            By::Protocol => &self.protocols,
            By::Group => &self.groups,
        };
        let Some(members) = index.get(word) else { return Vec::new() };
        let start = after.map_or(Unbounded, Excluded);
        members.range::<Name, _>((start, Unbounded)).take(count_max).map(|(_, id)| *id).collect()
    }

    /// For "did you mean": the name that is most like the text. Looks at every name, so it is for errors only, and none
    /// is suggested among more than `SIMILAR_NAMES_MAX`.
    pub fn similar(&self, text: &str) -> Option<Name> {
        if self.ids.len() > SIMILAR_NAMES_MAX {
            return None;
        }
        let nearest = closest(text, self.ids.keys().map(Name::as_str))?;
        self.ids.get_key_value(nearest).map(|(name, _)| name.clone())
    }
}

impl Entry {
    /// Who says nothing any more costs as little as who never did.
    fn tidy(&mut self) {
        self.said.take_if(|said| said.groups.is_empty() && said.profile == Profile::default());
    }
}

fn insert_all<'a>(index: &mut Index, words: impl IntoIterator<Item = &'a Name>, name: &Name, id: AgentId) {
    for word in words {
        index.entry(word.clone()).or_default().insert(name.clone(), id);
    }
}

fn remove_all<'a>(index: &mut Index, words: impl IntoIterator<Item = &'a Name>, name: &Name) {
    for word in words {
        let Some(members) = index.get_mut(word) else { continue };
        members.remove(name);
        if members.is_empty() {
            index.remove(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: AgentId = AgentId(1);
    const B: AgentId = AgentId(2);

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn profile(capabilities: &[&str], protocols: &[&str]) -> Profile {
        Profile {
            capabilities: capabilities.iter().map(|text| name(text)).collect(),
            protocols: protocols.iter().map(|text| name(text)).collect(),
            metadata: Vec::new(),
        }
    }

    fn with(names: &[&str]) -> Registry {
        let mut registry = Registry::default();
        for (index, text) in names.iter().enumerate() {
            registry.reserve(name(text), AgentId(index as u32 + 1)).unwrap();
        }
        registry
    }

    #[test]
    fn a_name_is_one_agents_until_it_is_removed() {
        let mut registry = with(&["a"]);
        assert_eq!(registry.reserve(name("a"), A), Ok(()));
        assert_eq!(registry.reserve(name("a"), B), Err(Taken::Name(name("a"))));
        assert_eq!(registry.reserve(name("b"), A), Err(Taken::Agent(name("a"))));
        assert_eq!((registry.find_text("a"), registry.name_of(A)), (Some(A), Some(&name("a"))));
        assert_eq!(registry.remove(A), Some(name("a")));
        assert_eq!(registry.remove(A), None);
        assert_eq!(registry.reserve(name("a"), B), Ok(()));
        assert_eq!((registry.id_of(&name("a")), registry.len()), (Some(B), 1));
    }

    #[test]
    fn agents_are_found_by_name_a_page_at_a_time() {
        let mut registry = with(&["c", "a", "d", "b"]);
        for id in 1..=4 {
            assert!(registry.set_profile(AgentId(id), profile(&["sum"], &[])));
        }
        let ids = |found: Vec<AgentId>| found.into_iter().map(|id| id.0).collect::<Vec<_>>();
        let sum = name("sum");
        assert_eq!(ids(registry.find(By::Capability, &sum, None, 3)), [2, 4, 1]);
        assert_eq!(ids(registry.find(By::Capability, &sum, Some(&name("c")), 3)), [3]);
        assert_eq!(ids(registry.find(By::Capability, &sum, Some(&name("aa")), 1)), [4]);
        assert_eq!(ids(registry.find(By::Protocol, &sum, None, 3)), [0; 0]);
    }

    #[test]
    fn a_profile_replaces_the_one_before() {
        let mut registry = with(&["a"]);
        registry.set_profile(A, profile(&["x", "y"], &["vote"]));
        registry.set_profile(A, profile(&["y"], &[]));
        assert_eq!(registry.find(By::Capability, &name("x"), None, 9), []);
        assert_eq!(registry.find(By::Capability, &name("y"), None, 9), [A]);
        assert_eq!(registry.find(By::Protocol, &name("vote"), None, 9), []);
        assert!(!registry.set_profile(B, Profile::default()));
    }

    #[test]
    fn groups_are_joined_and_left() {
        let mut registry = with(&["a", "b"]);
        let group = name("g");
        assert!(registry.join(A, &group) && registry.join(B, &group));
        assert!(!registry.join(A, &group));
        assert_eq!(registry.find(By::Group, &group, None, 9), [A, B]);
        assert!(registry.leave(A, &group));
        assert!(!registry.leave(A, &group));
        assert_eq!(registry.groups_of(B).collect::<Vec<_>>(), [&group]);
        assert!(!registry.join(AgentId(9), &group));
    }

    #[test]
    fn nothing_is_left_of_an_agent_that_is_gone() {
        let mut registry = with(&["a"]);
        registry.set_profile(A, profile(&["x"], &["vote"]));
        registry.join(A, &name("g"));
        registry.remove(A);
        assert!(registry.is_empty() && registry.ids.is_empty());
        assert!(registry.capabilities.is_empty() && registry.protocols.is_empty() && registry.groups.is_empty());
    }

    #[test]
    fn who_says_nothing_any_more_costs_nothing() {
        let mut registry = with(&["a"]);
        registry.set_profile(A, profile(&["x"], &[]));
        registry.join(A, &name("g"));
        registry.set_profile(A, Profile::default());
        registry.leave(A, &name("g"));
        assert!(registry.agents.values().all(|entry| entry.said.is_none()));
    }

    #[test]
    fn a_name_that_is_like_it_is_suggested() {
        let registry = with(&["digest", "ledger"]);
        assert_eq!(registry.similar("digset"), Some(name("digest")));
        assert_eq!(registry.similar("watcher"), None);
    }

    proptest! {
        #[test]
        fn the_indexes_say_what_the_profiles_say(
            steps in prop::collection::vec((0u32..5, prop::collection::vec(0u8..4, 0..4), 0u8..3), 0..50),
        ) {
            let mut registry = Registry::default();
            let mut naive: BTreeMap<u32, BTreeSet<Name>> = BTreeMap::new();
            for (id, words, step) in steps {
                let words: Vec<Name> = words.iter().map(|word| name(&format!("w{word}"))).collect();
                match step {
                    0 => {
                        registry.remove(AgentId(id));
                        naive.remove(&id);
                    }
                    1 => {
                        registry.reserve(name(&format!("n{id}")), AgentId(id)).unwrap();
                        naive.entry(id).or_default();
                    }
                    _ => {
                        let profile = Profile { capabilities: words.clone(), ..Profile::default() };
                        let known = registry.set_profile(AgentId(id), profile);
                        prop_assert_eq!(known, naive.contains_key(&id));
                        if let Some(said) = naive.get_mut(&id) {
                            *said = words.into_iter().collect();
                        }
                    }
                }
            }
            for word in (0..4).map(|word| name(&format!("w{word}"))) {
                let expected: Vec<AgentId> =
                    naive.iter().filter(|(_, said)| said.contains(&word)).map(|(id, _)| AgentId(*id)).collect();
                prop_assert_eq!(registry.find(By::Capability, &word, None, 99), expected);
            }
        }
    }
}
