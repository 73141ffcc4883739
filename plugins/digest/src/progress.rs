//! What is known of a file after some of its parts. Small, whatever the file's size.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256};
use skep_sdk::{Body, data};
use std::borrow::Cow;
use std::fmt::Write as _;

/// The plugin's version: the first number of its crate's.
pub(crate) const VERSION: u32 = {
    let [digit] = env!("CARGO_PKG_VERSION_MAJOR").as_bytes() else { panic!("one digit will do") };
    (*digit - b'0') as u32
};

/// A result.
#[data]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) path: String,
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
    pub(crate) words: u64,
    pub(crate) version: u32,
}

/// The figures so far.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    hash: Sha256,
    counts: Counts,
}

#[data]
#[derive(Clone, Copy, Default)]
struct Counts {
    parts: u32,
    bytes: u64,
    lines: u64,
    words: u64,
    /// The last byte was part of a word.
    in_word: bool,
}

impl Progress {
    /// How many parts were added.
    pub(crate) fn parts(&self) -> u32 {
        self.counts.parts
    }

    pub(crate) fn add(&mut self, part: &[u8]) {
        self.hash.update(part);
        let counts = &mut self.counts;
        counts.parts += 1;
        counts.bytes += part.len() as u64;
        for byte in part {
            let in_word = !matches!(byte, b' ' | b'\t'..=b'\r');
            counts.lines += u64::from(*byte == b'\n');
            counts.words += u64::from(in_word && !counts.in_word);
            counts.in_word = in_word;
        }
    }

    pub(crate) fn finish(self, path: String) -> Summary {
        let Counts { bytes, lines, words, .. } = self.counts;
        Summary { path, sha256: hex(&self.hash.finalize()), bytes, lines, words, version: VERSION }
    }
}

/// The stored state of a hash.
const HASH_BYTES: usize = size_of::<SerializedState<Sha256>>();

/// Stored as the hash's own state, then the counts.
impl Body for Progress {
    fn encode(&self) -> Result<Cow<'_, [u8]>, String> {
        let mut bytes = self.hash.serialize().to_vec();
        bytes.extend_from_slice(&self.counts.encode()?);
        Ok(Cow::Owned(bytes))
    }

    fn decode(bytes: Vec<u8>) -> Result<Self, String> {
        let (hash, counts) = bytes.split_at_checked(HASH_BYTES).ok_or("too short for a hash")?;
        let hash = SerializedState::<Sha256>::try_from(hash).map_err(|_| "no state of a hash")?;
        let hash = Sha256::deserialize(&hash).map_err(|_| "no state of a hash")?;
        Ok(Self { hash, counts: Counts::decode(counts.to_vec())? })
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(parts: &[&str]) -> Summary {
        let mut progress = Progress::default();
        for part in parts {
            progress.add(part.as_bytes());
            progress = Progress::decode(progress.encode().unwrap().into_owned()).unwrap();
        }
        progress.finish("a".to_owned())
    }

    #[test]
    fn parts_give_what_the_whole_gives() {
        let whole = summary(&["two words\nand three more\n"]);
        assert_eq!((whole.bytes, whole.lines, whole.words), (25, 2, 5));
        assert_eq!(summary(&["two wo", "rds\n", "", "and three more\n"]), whole);
        assert_ne!(summary(&["two wo ", "rds\nand three more\n"]).words, whole.words);
    }

    #[test]
    fn the_digest_is_that_of_the_standard() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(summary(&["a", "bc"]).sha256, abc);
        assert_eq!(sha256(b"abc"), abc);
        assert_eq!(summary(&[]).sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
