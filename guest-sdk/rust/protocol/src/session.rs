//! What a session was opened with, typed. It is the same at every step, and never a place to keep anything.

use serde::de::DeserializeOwned;

use crate::bindings::skep::protocol::types::SessionInfo;
use crate::{AskId, Inbound, Member, Reject};

/// The largest integer that JSON carries safely, 2^53 - 1: what amounts and times in messages should be limited to.
pub const INTEGER_MAX: u64 = 9_007_199_254_740_991;

/// A session: its config, who takes part, and its bounds.
#[derive(Clone, Debug)]
pub struct Session<C> {
    /// Unique in the hive.
    pub id: String,
    /// As the protocol understands it.
    pub config: C,
    /// In the declared order, which breaks ties.
    pub members: Vec<Member>,
    /// The only randomness; see [`Session::draw`].
    pub seed: u64,
    /// When [`crate::Event::Deadline`] comes, at the latest.
    pub deadline_at_ms: u64,
}

impl<C: DeserializeOwned> Session<C> {
    pub(crate) fn read(info: SessionInfo) -> Result<Self, Reject> {
        let SessionInfo { session_id, config, members, seed, deadline_at } = info;
        let config = serde_json::from_slice(&config).map_err(|error| Reject::BadConfig(error.to_string()))?;
        Ok(Self { id: session_id, config, members, seed, deadline_at_ms: deadline_at })
    }
}

impl<C> Session<C> {
    /// The names of all members, in the declared order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.id.as_str())
    }

    /// The place of a member in the declared order, from 0.
    pub fn place(&self, id: &str) -> Option<usize> {
        self.members.iter().position(|member| member.id == id)
    }

    /// A number below `below` (0 if that is 0), drawn from the seed. The same draw gives the same number; draws are
    /// numbered from 0.
    ///
    /// It is draw `draw` of SplitMix64 (Steele, Lea and Flood 2014) seeded with [`Session::seed`], times `below`, without
    /// its lower 64 bits.
    pub fn draw(&self, draw: u64, below: usize) -> usize {
        let number = u128::from(splitmix64(self.seed, draw)) * below as u128;
        (number >> 64) as usize
    }
}

fn splitmix64(seed: u64, draw: u64) -> u64 {
    let state = seed.wrapping_add(draw.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Inbound {
    /// The body, typed.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// Whether it answers this ask.
    pub fn answers(&self, ask: AskId) -> bool {
        self.in_reply_to == Some(ask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_the_published_generator() {
        // The reference implementation in C, seeded with 1234567.
        let first = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431];
        for (draw, number) in (0..).zip(first) {
            assert_eq!(splitmix64(1_234_567, draw), number);
        }
    }

    #[test]
    fn a_draw_stays_below_its_bound_and_reaches_all() {
        let session = |seed| Session { id: String::new(), config: (), members: Vec::new(), seed, deadline_at_ms: 0 };
        let mut drawn = [0_u32; 3];
        for seed in 0..3_000 {
            drawn[session(seed).draw(0, 3)] += 1;
        }
        assert!(drawn.iter().all(|times| (900..1_100).contains(times)), "{drawn:?}");
        assert_eq!((session(1).draw(0, 0), session(1).draw(0, 1)), (0, 0));
    }
}
