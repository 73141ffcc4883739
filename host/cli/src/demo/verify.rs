//! Holds the ledger against the list: file by file, then the sums. Never corrects anything.

use std::collections::HashMap;

use super::figures::{Figures, extension};
use super::ledger::{ExtensionRow, FileRow, Totals};
use super::list::Listed;
use super::traffic::Sent;

/// The most differences that are named.
const NAMED_MAX: usize = 20;

/// What should be in the ledger.
pub(super) struct Expected<'a> {
    files: HashMap<&'a str, Figures>,
    /// Names of files that changed or went while the demo ran.
    pub(super) changed: Vec<&'a str>,
}

/// How the ledger compares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Files with the right figures.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Files that are not in the ledger.
    pub(super) lost: u64,
    /// Deliveries beyond the first of each file.
    pub(super) duplicated: u64,
    /// What is wrong, one by one, as far as it is named.
    pub(super) differences: Vec<String>,
}

impl<'a> Expected<'a> {
    /// The list, with what was really sent of files that changed meanwhile.
    pub(super) fn new(listed: &'a [Listed], unlike: &[(usize, Sent)]) -> Self {
        let mut files: HashMap<&str, Figures> = listed.iter().map(|file| (file.name.as_str(), file.figures)).collect();
        let mut changed = Vec::new();
        for (place, sent) in unlike {
            let Some(file) = listed.get(*place) else { continue };
            changed.push(file.name.as_str());
            match sent {
                Sent::AsListed => {}
                Sent::Changed(figures) => drop(files.insert(&file.name, *figures)),
                Sent::Gone => drop(files.remove(file.name.as_str())),
            }
        }
        changed.sort_unstable();
        Self { files, changed }
    }

    /// How many files there should be.
    pub(super) fn count(&self) -> usize {
        self.files.len()
    }

    /// Sums by extension, for the table and for the comparison.
    pub(super) fn by_extension(&self) -> HashMap<String, ExtensionRow> {
        let mut rows: HashMap<String, ExtensionRow> = HashMap::new();
        for (name, figures) in &self.files {
            let extension = extension(name);
            let empty = ExtensionRow { extension: extension.clone(), files: 0, bytes: 0, lines: 0, words: 0 };
            let row = rows.entry(extension).or_insert(empty);
            row.files += 1;
            row.bytes += figures.bytes;
            row.lines += figures.lines;
            row.words += figures.words;
        }
        rows
    }
}

/// Compares while the ledger's pages come.
pub(super) struct Verifier<'e, 'a> {
    expected: &'e Expected<'a>,
    seen: usize,
    verdict: Verdict,
}

impl<'e, 'a> Verifier<'e, 'a> {
    pub(super) fn new(expected: &'e Expected<'a>) -> Self {
        Self { expected, seen: 0, verdict: Verdict::default() }
    }

    /// A row of the ledger.
    pub(super) fn row(&mut self, row: &FileRow) {
        self.verdict.duplicated += row.deliveries.saturating_sub(1);
        let Some(figures) = self.expected.files.get(row.path.as_str()) else {
            return self.differs(&row.path, "is in the ledger and was never sent");
        };
        self.seen += 1;
        let same = row.sha256 == figures.hex()
            && (row.bytes, row.lines, row.words) == (figures.bytes, figures.lines, figures.words);
        if same {
            self.verdict.files += 1;
            self.verdict.bytes += row.bytes;
        } else {
            self.differs(&row.path, "has other figures in the ledger");
        }
        if row.deliveries != 1 {
            self.differs(&row.path, &format!("was delivered {} times", row.deliveries));
        }
    }

    /// The end of the pages: what is missing, and whether the sums fit.
    pub(super) fn finish(mut self, totals: &Totals, extensions: &[ExtensionRow]) -> Verdict {
        self.verdict.lost = self.expected.files.len().saturating_sub(self.seen) as u64;
        let by_extension = self.expected.by_extension();
        let sum = |of: fn(&ExtensionRow) -> u64| by_extension.values().map(of).sum::<u64>();
        let sums = [
            ("files", totals.files, sum(|row| row.files)),
            ("deliveries", totals.deliveries, sum(|row| row.files)),
            ("bytes", totals.bytes, sum(|row| row.bytes)),
            ("lines", totals.lines, sum(|row| row.lines)),
            ("words", totals.words, sum(|row| row.words)),
        ];
        for (what, found, expected) in sums.into_iter().filter(|(_, found, expected)| found != expected) {
            self.differs("the total", &format!("of {what} is {found} in the ledger and {expected} natively"));
        }
        for row in extensions {
            let same = by_extension.get(&row.extension).is_some_and(|native| {
                (native.files, native.bytes, native.lines, native.words) == (row.files, row.bytes, row.lines, row.words)
            });
            if !same {
                self.differs(&format!("the extension .{}", row.extension), "has other sums in the ledger");
            }
        }
        if extensions.len() != by_extension.len() {
            self.differs("the ledger", &format!("has {} extensions of {}", extensions.len(), by_extension.len()));
        }
        self.verdict
    }

    fn differs(&mut self, what: &str, how: &str) {
        if self.verdict.differences.len() < NAMED_MAX {
            self.verdict.differences.push(format!("{} {how}", skep_core::name::shown(what, 128)));
        }
    }
}

impl Verdict {
    /// Whether nothing was lost, doubled or changed on the way.
    pub(super) fn is_good(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.differences.is_empty()
    }

    /// The last line of the demo.
    pub(super) fn line(&self) -> String {
        let word = if self.is_good() { "verified" } else { "NOT verified" };
        let Self { files, bytes, lost, duplicated, .. } = self;
        format!("{word}: {files} files, {bytes} bytes, lost {lost}, duplicated {duplicated}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, text: &str) -> Listed {
        Listed { name: name.into(), figures: Figures::of(text.as_bytes()).unwrap(), path: name.into() }
    }

    fn row(file: &Listed, deliveries: u64) -> FileRow {
        let Figures { bytes, lines, words, .. } = file.figures;
        FileRow { path: file.name.clone(), sha256: file.figures.hex(), bytes, lines, words, deliveries }
    }

    fn verdict(files: &[Listed], unlike: &[(usize, Sent)], rows: &[FileRow]) -> Verdict {
        let expected = Expected::new(files, unlike);
        let mut verifier = Verifier::new(&expected);
        rows.iter().for_each(|row| verifier.row(row));
        let sum = |of: fn(&FileRow) -> u64| rows.iter().map(of).sum();
        let totals = Totals {
            files: rows.len() as u64,
            deliveries: sum(|row| row.deliveries),
            bytes: sum(|row| row.bytes),
            lines: sum(|row| row.lines),
            words: sum(|row| row.words),
            versions: Vec::new(),
        };
        let mut found: HashMap<String, ExtensionRow> = HashMap::new();
        for row in rows {
            let empty = ExtensionRow { extension: extension(&row.path), files: 0, bytes: 0, lines: 0, words: 0 };
            let sums = found.entry(extension(&row.path)).or_insert(empty);
            sums.files += 1;
            sums.bytes += row.bytes;
            sums.lines += row.lines;
            sums.words += row.words;
        }
        verifier.finish(&totals, &found.into_values().collect::<Vec<_>>())
    }

    #[test]
    fn the_same_figures_are_verified() {
        let files = [listed("a.rs", "one\n"), listed("b", "two words")];
        let good = verdict(&files, &[], &[row(&files[0], 1), row(&files[1], 1)]);
        assert!(good.is_good(), "{good:?}");
        assert_eq!(good.line(), "verified: 2 files, 13 bytes, lost 0, duplicated 0");
    }

    #[test]
    fn a_lost_a_doubled_and_a_wrong_file_are_found() {
        let files = [listed("a", "one"), listed("b", "two")];
        let lost = verdict(&files, &[], &[row(&files[0], 1)]);
        assert_eq!((lost.lost, lost.is_good()), (1, false));
        assert!(lost.line().starts_with("NOT verified: 1 files"));
        let doubled = verdict(&files, &[], &[row(&files[0], 2), row(&files[1], 1)]);
        assert_eq!((doubled.duplicated, doubled.is_good()), (1, false));
        let wrong = FileRow { words: 9, ..row(&files[1], 1) };
        assert!(!verdict(&files, &[], &[row(&files[0], 1), wrong]).is_good());
        let strange = [row(&files[0], 1), row(&files[1], 1), row(&listed("c", ""), 1)];
        assert!(!verdict(&files, &[], &strange).is_good());
    }

    #[test]
    fn a_file_that_changed_is_compared_with_what_was_sent() {
        let files = [listed("a", "one"), listed("b", "two"), listed("c", "three")];
        let now = listed("a", "one more");
        let unlike = [(0, Sent::Changed(now.figures)), (2, Sent::Gone)];
        let good = verdict(&files, &unlike, &[row(&now, 1), row(&files[1], 1)]);
        assert!(good.is_good(), "{good:?}");
        assert_eq!(Expected::new(&files, &unlike).changed, ["a", "c"]);
    }
}
