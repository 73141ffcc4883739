//! Chance from a seed that is printed, so that what failed can be run again.

use std::hash::{BuildHasher, Hasher};

/// A number that a variable of the environment sets; none if it is not there. Another word is a mistake that would run
/// something else than was meant.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}

/// Numbers from a seed: xorshift, good enough to choose moments.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// From `SKEP_SEED`, or a new seed; it is printed.
    pub fn announced(what: &str) -> Self {
        let seed = number("SKEP_SEED").unwrap_or_else(|| std::hash::RandomState::new().build_hasher().finish());
        println!("{what}: SKEP_SEED={seed}");
        Self::from_seed(seed)
    }

    /// From this seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below this one.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}
