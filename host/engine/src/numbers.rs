//! The numbers that stand for names in one instance: of agents, and of kinds of messages. Numbers live as long as the
//! instance and never leave it; 0 is the outside.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use skep_core::{AgentId, Message, Name};

use crate::failure::Halt;
use crate::host::TurnHost;

/// The most numbers of one instance. A name takes about 100 bytes here.
pub const NUMBERS_MAX: usize = 65_536;
/// Those of them that are kept for what the guest asks for itself: messages leave them, however many names they bring.
const KEPT: usize = NUMBERS_MAX / 4;
/// Names that are found by their address: senders give the same kind again and again.
const RECENT_MAX: usize = 4;

/// The numbers of one instance.
#[derive(Default)]
pub(crate) struct Numbers {
    entries: Vec<Entry>,
    by_name: HashMap<Name, u32>,
    /// One agent a name at most: that which had it when it was looked up last.
    by_agent: HashMap<u32, u32, BuildHasherDefault<AgentHasher>>,
    recent: [Option<(Name, u32)>; RECENT_MAX],
    last_agent: (u32, u32),
}

struct Entry {
    name: Name,
    /// `OUTSIDE`: not known yet, or no agent's name.
    agent: AgentId,
    told: bool,
}

impl Numbers {
    /// The number of a name.
    pub(crate) fn of_name(&mut self, name: &Name) -> Result<u32, Halt> {
        let address = name.as_str().as_ptr();
        let slot = (address as usize >> 4) % RECENT_MAX;
        // The table holds the name, so its address cannot have become another name's.
        if let Some(Some((known, number))) = self.recent.get(slot)
            && std::ptr::eq(known.as_str().as_ptr(), address)
        {
            return Ok(*number);
        }
        let number = match self.by_name.get(name) {
            Some(number) => *number,
            None => self.add(name.clone())?,
        };
        if let Some(recent) = self.recent.get_mut(slot) {
            *recent = Some((name.clone(), number));
        }
        Ok(number)
    }

    /// The number of a text that a guest gives. It knows the name, so it need not be told.
    pub(crate) fn of_text(&mut self, text: &str) -> Result<u32, Halt> {
        let number = match self.by_name.get(text) {
            Some(number) => *number,
            None => {
                let name = Name::new(text).map_err(|error| Halt::Misuse(error.to_string()))?;
                self.add(name)?
            }
        };
        self.is_told(number);
        Ok(number)
    }

    /// The number of an agent.
    pub(crate) fn of_agent(&mut self, agent: AgentId, host: &impl TurnHost) -> Result<u32, Halt> {
        if agent == AgentId::OUTSIDE {
            return Ok(0);
        }
        if self.last_agent.0 == agent.0 {
            return Ok(self.last_agent.1);
        }
        let number = match self.by_agent.get(&agent.0) {
            Some(number) => *number,
            None => self.add_agent(agent, host)?,
        };
        self.last_agent = (agent.0, number);
        Ok(number)
    }

    fn add_agent(&mut self, agent: AgentId, host: &impl TurnHost) -> Result<u32, Halt> {
        let name = match host.name_of(agent) {
            Some(name) => name,
            // It is gone, and its name with it; the number must still not be another's.
            None => Name::new(&format!("gone:{}", agent.0)).map_err(|error| Halt::Misuse(error.to_string()))?,
        };
        let number = self.of_name(&name)?;
        // What comes late of one that has gone does not make the name its own again.
        if host.resolve(&name) == Some(agent) {
            self.is_agent(number, agent);
        }
        Ok(number)
    }

    /// Whether so many messages are sure to find numbers, whatever names they bring.
    pub(crate) fn has_room_for(&self, messages: usize) -> bool {
        self.entries.len() + 2 * messages <= NUMBERS_MAX - KEPT
    }

    /// Gives the names of a message their numbers; false if it brings new ones and there is no room for them.
    pub(crate) fn admits(&mut self, message: &Message, host: &impl TurnHost) -> bool {
        let is_known = self.by_name.contains_key(&message.kind)
            && (message.sender == AgentId::OUTSIDE || self.by_agent.contains_key(&message.sender.0));
        (is_known || self.has_room_for(1))
            && self.of_agent(message.sender, host).is_ok()
            && self.of_name(&message.kind).is_ok()
    }

    fn add(&mut self, name: Name) -> Result<u32, Halt> {
        if self.entries.len() >= NUMBERS_MAX {
            return Err(Halt::Numbers);
        }
        self.entries.push(Entry { name: name.clone(), agent: AgentId::OUTSIDE, told: false });
        let number = self.entries.len() as u32;
        self.by_name.insert(name, number);
        Ok(number)
    }

    fn is_agent(&mut self, number: u32, agent: AgentId) {
        let Some(entry) = self.entry_mut(number) else { return };
        let before = std::mem::replace(&mut entry.agent, agent);
        if before != agent {
            self.by_agent.remove(&before.0);
            self.last_agent = (agent.0, number);
        }
        self.by_agent.insert(agent.0, number);
    }

    fn is_told(&mut self, number: u32) {
        if let Some(entry) = self.entry_mut(number) {
            entry.told = true;
        }
    }

    /// The name of a number; none if there is no such number.
    pub(crate) fn name(&self, number: u32) -> Option<&Name> {
        self.entries.get((number as usize).checked_sub(1)?).map(|entry| &entry.name)
    }

    /// The agent of a number; none if there is none of that name now.
    pub(crate) fn agent(&mut self, number: u32, host: &impl TurnHost) -> Option<AgentId> {
        match self.entries.get((number as usize).checked_sub(1)?)?.agent {
            AgentId::OUTSIDE => self.resolve(number, host),
            agent => Some(agent),
        }
    }

    /// As `agent`, but asks again: the name may be another agent's by now.
    pub(crate) fn resolve(&mut self, number: u32, host: &impl TurnHost) -> Option<AgentId> {
        let agent = host.resolve(self.name(number)?)?;
        self.is_agent(number, agent);
        Some(agent)
    }

    /// The name, if the guest has not been told it; from now on it has.
    pub(crate) fn tell(&mut self, number: u32) -> Option<Name> {
        let entry = self.entry_mut(number).filter(|entry| !entry.told)?;
        entry.told = true;
        Some(entry.name.clone())
    }

    fn entry_mut(&mut self, number: u32) -> Option<&mut Entry> {
        self.entries.get_mut((number as usize).checked_sub(1)?)
    }
}

/// Spreads the numbers of agents. They are the host's own, so nobody chooses them to collide.
#[derive(Default)]
struct AgentHasher(u64);

impl Hasher for AgentHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32((*byte).into());
        }
    }

    fn write_u32(&mut self, number: u32) {
        // Fibonacci hashing: the table looks at the highest and the lowest bits.
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Yes;
    use bytes::Bytes;
    use skep_core::{Channel, Class, MessageId};

    fn message(sender: u32, kind: &str) -> Message {
        Message {
            id: MessageId(1),
            sender: AgentId(sender),
            kind: Name::new(kind).unwrap(),
            channel: Channel::Events,
            class: Class::Tell,
            failed_turns: 0,
            hops: 0,
            accepted_ns: 0,
            row: None,
            body: Bytes::new(),
            rare: None,
        }
    }

    #[test]
    fn messages_leave_numbers_for_what_the_guest_asks_for() {
        let (mut numbers, host) = (Numbers::default(), Yes::new());
        assert!(numbers.admits(&message(0, "known"), &host));
        let brought = (0..).take_while(|at| numbers.admits(&message(0, &format!("kind-{at}")), &host)).count();
        assert!((NUMBERS_MAX / 2..NUMBERS_MAX).contains(&brought), "{brought}");
        assert!(!numbers.admits(&message(7, "known"), &host), "its sender has a name too");
        assert!(numbers.admits(&message(0, "known"), &host));
        assert!((0..KEPT).all(|at| numbers.of_text(&format!("own-{at}")).is_ok()));
    }

    #[test]
    fn a_name_has_one_agent_however_many_have_had_it() {
        let (mut numbers, host) = (Numbers::default(), Yes::new());
        let number = numbers.of_text("child").unwrap();
        for agent in 5..99 {
            numbers.is_agent(number, AgentId(agent));
            assert_eq!(numbers.of_agent(AgentId(agent), &host).unwrap(), number);
        }
        // One that has gone, and does not have the name any more.
        numbers.of_agent(AgentId(5), &host).unwrap();
        assert_eq!(numbers.by_agent.len(), 1);
    }
}
