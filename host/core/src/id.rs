//! Identities: of agents, messages, turns and events. Never drawn at random here: an id comes from what it stands for.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::xxh3_128;

/// The number of an agent in its hive: an index into the host's table, kept over restarts for durable agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentId(pub u32);

impl AgentId {
    /// Whatever is not an agent: an operator, a client, the embedding program.
    pub const OUTSIDE: Self = Self(0);
}

/// 128 bits that name a message, a cause or an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub u128);

impl MessageId {
    /// The two halves, high first: the form that crosses to a guest.
    pub fn halves(self) -> (u64, u64) {
        ((self.0 >> 64) as u64, self.0 as u64)
    }

    /// From the two halves.
    pub fn from_halves(high: u64, low: u64) -> Self {
        Self((u128::from(high) << 64) | u128::from(low))
    }

    /// The id of the `ordinal`th effect of a cause, made by the agent of this lineage. The same at every repetition.
    pub fn derive(cause: Self, lineage: Lineage, ordinal: u32) -> Self {
        let mut bytes = [0u8; 28];
        let (id, rest) = bytes.split_at_mut(16);
        let (line, count) = rest.split_at_mut(8);
        id.copy_from_slice(&cause.0.to_le_bytes());
        line.copy_from_slice(&lineage.0.to_le_bytes());
        count.copy_from_slice(&ordinal.to_le_bytes());
        Self(xxh3_128(&bytes))
    }

    /// The id that stands for a text: a client's message id, say, together with the client's name.
    pub fn of_text(space: &str, text: &str) -> Self {
        Self::of_bytes(space, text.as_bytes())
    }

    /// As `of_text`, for bytes.
    pub fn of_bytes(space: &str, content: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(space.len() + 1 + content.len());
        bytes.extend_from_slice(space.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(content);
        Self(xxh3_128(&bytes))
    }

    /// From 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One life of a name: the same over restarts and swaps, another after a purge. Part of every derived id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lineage(pub u64);

/// Counts the instances of one agent since the host started, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Incarnation(pub u32);

/// Counts the turns of one agent since the host started, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TurnId(pub u64);

/// The place of a row in the hive's one global order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Seq(pub u64);

/// SHA-256 of a component file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// From `sha256:` and 64 hexadecimal digits, or the digits alone.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        let mut bytes = [0u8; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(index * 2..index * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The first 12 digits: enough for people.
    pub fn short(&self) -> String {
        self.0.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A map by ids. Those of messages are hashes already and those of agents are counted by the host: nobody chooses them
/// to collide.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// See [`IdMap`].
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32((*byte).into());
        }
    }

    fn write_u32(&mut self, number: u32) {
        // Fibonacci hashing: a table looks at the highest and the lowest bits.
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 ^= hash as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_repeat_and_differ_by_every_part() {
        let cause = MessageId(7);
        let id = MessageId::derive(cause, Lineage(1), 0);
        assert_eq!(id, MessageId::derive(cause, Lineage(1), 0));
        assert_ne!(id, MessageId::derive(cause, Lineage(1), 1));
        assert_ne!(id, MessageId::derive(cause, Lineage(2), 0));
        assert_ne!(id, MessageId::derive(MessageId(8), Lineage(1), 0));
    }

    #[test]
    fn ids_and_digests_survive_their_text() {
        let id = MessageId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(MessageId::parse(&id.to_string()), Some(id));
        let (high, low) = id.halves();
        assert_eq!(MessageId::from_halves(high, low), id);
        let digest = Digest([0xab; 32]);
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("sha256:zz"), None);
    }

    #[test]
    fn a_map_by_ids_keeps_them_apart() {
        let agents: IdMap<AgentId, u32> = (0..10_000).map(|number| (AgentId(number), number)).collect();
        assert!(agents.iter().all(|(id, number)| id.0 == *number) && agents.len() == 10_000);
        let ids = |count: u32| MessageId::derive(MessageId(7), Lineage(1), count);
        let messages: IdMap<MessageId, u32> = (0..10_000).map(|count| (ids(count), count)).collect();
        assert!((0..10_000).all(|count| messages.get(&ids(count)) == Some(&count)));
    }
}
