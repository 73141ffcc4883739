//! The sum of a row: SQLite finds a damaged page by its structure, never a flipped bit in a value. No protection against
//! somebody who wants to forge.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A running sum: each part is hashed with what came before as its seed, so parts do not run into each other.
#[derive(Clone, Copy)]
pub(super) struct Sum(u64);

impl Sum {
    /// Starts with numbers, up to 16 of them, each as 8 bytes, the lowest first.
    pub(super) fn of_numbers(numbers: &[u64]) -> Self {
        let mut bytes = [0; 128];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let used = bytes.get(..numbers.len() * 8).unwrap_or(&bytes);
        Self(xxh3_64_with_seed(used, 0))
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        Self(xxh3_64_with_seed(bytes, self.0))
    }

    /// As SQLite keeps it.
    pub(super) fn value(self) -> i64 {
        self.0.cast_signed()
    }

    /// The sum of a row of `record`.
    pub(super) fn of_record(space: u8, owner: u32, key: &[u8], value: &[u8]) -> i64 {
        Self::of_numbers(&[u64::from(space), u64::from(owner)]).bytes(key).bytes(value).value()
    }
}
