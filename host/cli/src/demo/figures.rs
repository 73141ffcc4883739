//! Figures of a file, counted natively: what the agents' figures are held against. Never through an agent.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// How much of a file is read at a time, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// SHA-256, bytes, lines and words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) sha256: [u8; 32],
    pub(super) bytes: u64,
    pub(super) lines: u64,
    pub(super) words: u64,
}

impl Figures {
    /// Of all that a reader gives.
    pub(super) fn of(mut reader: impl Read) -> io::Result<Self> {
        let mut counter = Counter::default();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match reader.read(&mut piece) {
                Ok(0) => return Ok(counter.finish()),
                Ok(count) => counter.add(piece.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The digest as 64 digits.
    pub(super) fn hex(&self) -> String {
        self.sha256.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Figures of what has come so far.
#[derive(Clone, Default)]
pub(super) struct Counter {
    hash: Sha256,
    figures: Figures,
    in_word: bool,
}

impl Counter {
    /// Lines are counted by their ends; words are runs of bytes that are not ASCII white space.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.figures.bytes += bytes.len() as u64;
        for byte in bytes {
            let in_word = !matches!(byte, b' ' | b'\t'..=b'\r');
            self.figures.lines += u64::from(*byte == b'\n');
            self.figures.words += u64::from(in_word && !self.in_word);
            self.in_word = in_word;
        }
    }

    pub(super) fn finish(self) -> Figures {
        Figures { sha256: self.hash.finalize().into(), ..self.figures }
    }
}

/// The extension that a file is counted under: what follows the last dot of its name, but for a first one, in lower case,
/// if it is 1 to 16 letters and digits; else the empty text. The ledger has the same rule.
pub(super) fn extension(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() && is_plain(end) => end.to_ascii_lowercase(),
        _ => String::new(),
    }
}

fn is_plain(end: &str) -> bool {
    (1..=16).contains(&end.len()) && end.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_wc_and_sha256sum() {
        let figures = Figures::of(&b"two words\nand three\tmore"[..]).unwrap();
        assert_eq!((figures.bytes, figures.lines, figures.words), (24, 1, 5));
        let abc = Figures::of(&b"abc"[..]).unwrap();
        assert_eq!(abc.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_word_across_two_pieces_is_one() {
        let mut counter = Counter::default();
        ["a lo", "ng", " word"].iter().for_each(|piece| counter.add(piece.as_bytes()));
        assert_eq!(counter.finish().words, 3);
    }

    #[test]
    fn extensions_are_short_and_in_lower_case() {
        for (path, expected) in
            [("a/b.RS", "rs"), ("a.b/c", ""), (".gitignore", ""), (".a.b", "b"), ("x.", ""), ("x.a-b", "")]
        {
            assert_eq!(extension(path), expected, "{path}");
        }
    }
}
