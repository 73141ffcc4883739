//! What the ledger counts, and under which keys of the state it keeps it.

use skep_sdk::{data, message};

/// Longer paths are kept under their beginning and a hash: a key has 512 bytes at most.
const KEY_PATH_BYTES_MAX: usize = 400;

/// Longer extensions are none: a name that nobody chose should not be a row.
const EXTENSION_BYTES_MAX: usize = 16;

pub(crate) const FILES: &str = "file/";
pub(crate) const EXTENSIONS: &str = "extension/";

/// What a digest has found.
#[message]
pub(crate) struct Record {
    pub(crate) path: String,
    sha256: String,
    bytes: u64,
    lines: u64,
    words: u64,
    version: u32,
}

/// A file, as its last delivery has it.
#[data]
pub(crate) struct File {
    path: String,
    sha256: String,
    bytes: u64,
    lines: u64,
    words: u64,
    version: u32,
    deliveries: u64,
}

/// Sums over files.
#[data]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) files: u64,
    bytes: u64,
    lines: u64,
    words: u64,
}

/// The sums of one extension.
#[data]
#[derive(Default)]
pub(crate) struct Extension {
    extension: String,
    #[serde(flatten)]
    figures: Figures,
}

/// The sums of all.
#[data]
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    #[serde(flatten)]
    pub(crate) figures: Figures,
    pub(crate) deliveries: u64,
    /// Deliveries by the version of the digest.
    versions: Vec<(u32, u64)>,
}

impl File {
    pub(crate) fn after(record: Record, before: Option<&Self>) -> Self {
        let Record { path, sha256, bytes, lines, words, version } = record;
        Self { path, sha256, bytes, lines, words, version, deliveries: 1 + before.map_or(0, |file| file.deliveries) }
    }
}

impl Figures {
    fn count(&mut self, record: &Record, before: Option<&File>) {
        match before {
            None => self.files += 1,
            Some(file) => {
                self.bytes -= file.bytes;
                self.lines -= file.lines;
                self.words -= file.words;
            }
        }
        self.bytes += record.bytes;
        self.lines += record.lines;
        self.words += record.words;
    }
}

impl Extension {
    pub(crate) fn count(&mut self, record: &Record, before: Option<&File>) {
        self.extension = extension(&record.path);
        self.figures.count(record, before);
    }
}

impl Totals {
    pub(crate) fn count(&mut self, record: &Record, before: Option<&File>) {
        self.figures.count(record, before);
        self.deliveries += 1;
        match self.versions.iter_mut().find(|(version, _)| *version == record.version) {
            Some((_, deliveries)) => *deliveries += 1,
            None => self.versions.push((record.version, 1)),
        }
    }
}

/// Keys are ordered as their paths are, but for very long ones.
pub(crate) fn file_key(path: &str) -> String {
    if path.len() <= KEY_PATH_BYTES_MAX {
        return format!("{FILES}{path}");
    }
    let cut = path.floor_char_boundary(KEY_PATH_BYTES_MAX);
    let start = path.get(..cut).unwrap_or_default();
    format!("{FILES}{start}#{}", hash_of(path))
}

/// FNV-1a over 128 bits: long paths that begin alike are kept apart. Nobody gains by a collision of their own paths.
fn hash_of(path: &str) -> String {
    let hash = path.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    format!("{hash:032x}")
}

pub(crate) fn extension_key(path: &str) -> String {
    format!("{EXTENSIONS}{}", extension(path))
}

fn extension(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name.rsplit_once('.') {
        Some((stem, end))
            if !stem.is_empty()
                && (1..=EXTENSION_BYTES_MAX).contains(&end.len())
                && end.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            end.to_ascii_lowercase()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(bytes: u64) -> Record {
        Record { path: "a.rs".into(), sha256: "0".into(), bytes, lines: 1, words: 2, version: 1 }
    }

    #[test]
    fn an_extension_is_short_and_plain() {
        let cases = [
            ("src/lib.rs", "rs"),
            ("A.TXT", "txt"),
            ("Makefile", ""),
            ("dir.d/file", ""),
            (".gitignore", ""),
            ("a.b.c", "c"),
            ("a.", ""),
            ("a.x y", ""),
            ("a.seventeen00000000", ""),
        ];
        for (path, expect) in cases {
            assert_eq!(extension(path), expect, "{path}");
        }
    }

    #[test]
    fn a_second_delivery_counts_as_one_and_replaces_the_figures() {
        let (mut totals, mut figures) = (Totals::default(), Figures::default());
        totals.count(&record(10), None);
        figures.count(&record(10), None);
        let file = File::after(record(10), None);
        totals.count(&record(30), Some(&file));
        figures.count(&record(30), Some(&file));
        assert_eq!(figures, Figures { files: 1, bytes: 30, lines: 1, words: 2 });
        assert_eq!((totals.deliveries, totals.figures), (2, figures));
        assert_eq!(File::after(record(30), Some(&file)).deliveries, 2);
    }

    #[test]
    fn long_paths_have_keys_of_their_own_that_are_not_too_long() {
        let long = "\u{e9}/".repeat(300);
        let (one, other) = (file_key(&format!("{long}1")), file_key(&format!("{long}2")));
        assert_ne!(one, other);
        assert!(one.len() <= 512, "{}", one.len());
        assert_eq!(file_key("a/b.rs"), "file/a/b.rs");
    }
}
