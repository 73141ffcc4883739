//! Answers page by page: never more than a message can carry.

use skep_sdk::{Body, Context, Result, data};

use crate::rows::{EXTENSIONS, Extension, FILES, File, Totals};

const ROWS_MAX: usize = 1_000;
const PAGE_BYTES_MAX: usize = 256 * 1024;

/// Which page.
#[data]
#[derive(Default)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Page {
    /// What `next` of the page before was.
    after: Option<String>,
    limit: Option<usize>,
}

/// A page.
#[data]
pub(crate) struct Rows<T> {
    rows: Vec<T>,
    /// None at the end.
    next: Option<String>,
}

/// A page of extensions, with the sums of all.
#[data]
pub(crate) struct Report {
    pub(crate) totals: Totals,
    #[serde(flatten)]
    pub(crate) rows: Rows<Extension>,
}

pub(crate) fn extensions(ctx: &Context, page: Page) -> Result<Rows<Extension>> {
    rows(ctx, EXTENSIONS, page)
}

pub(crate) fn files(ctx: &Context, page: Page) -> Result<Rows<File>> {
    rows(ctx, FILES, page)
}

/// Keys are the cursor, without their prefix.
fn rows<T: Body>(ctx: &Context, prefix: &str, page: Page) -> Result<Rows<T>> {
    let limit = page.limit.unwrap_or(100).clamp(1, ROWS_MAX);
    let after = page.after.map(|after| format!("{prefix}{after}"));
    let mut entries = ctx.state().scan_after::<T>(prefix, after.as_deref());
    let (mut rows, mut bytes, mut last) = (Vec::new(), 0, String::new());
    while rows.len() < limit && bytes < PAGE_BYTES_MAX {
        let Some(entry) = entries.next() else { return Ok(Rows { rows, next: None }) };
        let (key, row) = entry?;
        bytes += row.encode()?.len();
        rows.push(row);
        last = key;
    }
    let next = entries.next().map(|_| last.strip_prefix(prefix).unwrap_or_default().to_owned());
    Ok(Rows { rows, next })
}
