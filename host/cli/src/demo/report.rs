//! What the demo prints at the end. Never decides whether it went well.

use serde::Serialize;

use super::acts::Shown;
use super::ledger::{ExtensionRow, Totals};
use super::verify::Verdict;
use crate::api::types::Receipt;
use crate::output::{Document, Table};

/// Lines of the table; the rest is summed up in one.
const ROWS_MAX: usize = 15;

/// `Demo`: what was shown, in numbers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Demo<'a> {
    verified: bool,
    files: u64,
    bytes: u64,
    lost: u64,
    duplicated: u64,
    skipped: u64,
    changed: &'a [&'a str],
    differences: &'a [String],
    traps: u64,
    swap: &'a Receipt,
    deliveries_by_version: &'a [(u32, u64)],
    killed_at_file: usize,
    outage_ms: u128,
    hosts: usize,
    sent_again: usize,
    seconds: f64,
    extensions: Vec<Extension>,
}

#[derive(Clone, Serialize)]
struct Extension {
    extension: String,
    files: u64,
    bytes: u64,
    lines: u64,
    words: u64,
}

/// What there is to report.
pub(super) struct Parts<'a> {
    pub(super) verdict: &'a Verdict,
    pub(super) totals: &'a Totals,
    pub(super) extensions: Vec<ExtensionRow>,
    pub(super) shown: &'a Shown,
    pub(super) changed: &'a [&'a str],
    pub(super) skipped: u64,
    pub(super) sent_again: usize,
    pub(super) seconds: f64,
}

pub(super) fn document(parts: Parts<'_>) -> Document {
    let mut rows: Vec<Extension> = parts.extensions.into_iter().map(extension).collect();
    rows.sort_by(|one, other| (other.bytes, &one.extension).cmp(&(one.bytes, &other.extension)));
    let table = table(&rows);
    let names = rows.iter().map(|row| row.extension.clone()).collect();
    let demo = Demo {
        verified: parts.verdict.is_good(),
        files: parts.verdict.files,
        bytes: parts.verdict.bytes,
        lost: parts.verdict.lost,
        duplicated: parts.verdict.duplicated,
        skipped: parts.skipped,
        changed: parts.changed,
        differences: &parts.verdict.differences,
        traps: parts.shown.traps,
        swap: &parts.shown.receipt,
        deliveries_by_version: &parts.totals.versions,
        killed_at_file: parts.shown.killed_at,
        outage_ms: parts.shown.outage_ms,
        hosts: parts.shown.hosts.len(),
        sent_again: parts.sent_again,
        seconds: parts.seconds,
        extensions: rows,
    };
    let mut document = Document::one("Demo", &demo, "", table);
    document.rename(names);
    document
}

fn extension(row: ExtensionRow) -> Extension {
    let extension = if row.extension.is_empty() { "(none)".to_owned() } else { row.extension };
    Extension { extension, files: row.files, bytes: row.bytes, lines: row.lines, words: row.words }
}

fn table(rows: &[Extension]) -> Table {
    let mut table = Table::new(&["extension", "files", "bytes", "lines", "words"]);
    let mut line = |row: &Extension| {
        let figures = [row.files, row.bytes, row.lines, row.words].map(|figure| figure.to_string());
        table.row([row.extension.clone()].into_iter().chain(figures));
    };
    rows.iter().take(ROWS_MAX).for_each(&mut line);
    if rows.len() > ROWS_MAX {
        line(&sum(&format!("{} others", rows.len() - ROWS_MAX), rows.iter().skip(ROWS_MAX)));
    }
    line(&sum("total", rows.iter()));
    table
}

fn sum<'a>(name: &str, rows: impl Iterator<Item = &'a Extension>) -> Extension {
    let empty = Extension { extension: name.to_owned(), files: 0, bytes: 0, lines: 0, words: 0 };
    rows.fold(empty, |sum, row| Extension {
        files: sum.files + row.files,
        bytes: sum.bytes + row.bytes,
        lines: sum.lines + row.lines,
        words: sum.words + row.words,
        ..sum
    })
}
