//! Reading a range of an agent's state: what is committed, under what its own uncommitted turns have written. Never
//! writes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use skep_core::Bytes;
use skep_engine::{StatePage, StateUnreadable};
use skep_store::Space;

use crate::cell::Cell;
use crate::hive::Hive;

/// Entries with a prefix after a key, in order; at least one, if there is any, whatever the limit.
pub(crate) fn scan(
    hive: &Hive,
    cell: &Arc<Cell>,
    prefix: &Bytes,
    after: Option<&Bytes>,
    bytes_max: usize,
) -> Result<StatePage, StateUnreadable> {
    let pending: BTreeMap<Bytes, Option<Bytes>> = {
        let mind = cell.mind.lock();
        if let Some(memory) = mind.state.memory() {
            return Ok(cut(range(memory, prefix, after), bytes_max, false));
        }
        let pending = mind.state.pending();
        let in_range = pending.filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| *key > after));
        in_range.map(|(key, value)| (key.clone(), value.cloned())).collect()
    };
    let Some(store) = hive.store() else { return Ok(StatePage::default()) };
    let mut merged = BTreeMap::new();
    let mut from = after.cloned();
    let mut bytes = 0;
    let more = loop {
        let page = store
            .scan(Space::State, cell.id, prefix, from.as_deref(), bytes_max)
            .map_err(|error| StateUnreadable(error.to_string()))?;
        from = page.entries.last().map(|entry| entry.key.clone()).or(from);
        for entry in page.entries {
            if !pending.contains_key(&entry.key) {
                bytes += entry.key.len() + entry.value.len();
                merged.insert(entry.key, entry.value);
            }
        }
        // A page may hold nothing but what was removed since: then the next one is needed.
        if !page.more || bytes >= bytes_max {
            break page.more;
        }
    };
    for (key, value) in pending {
        let seen = !more || from.as_ref().is_some_and(|from| key <= *from);
        if let (true, Some(value)) = (seen, value) {
            merged.insert(key, value);
        }
    }
    Ok(cut(merged.into_iter(), bytes_max, more))
}

fn range<'a>(
    memory: &'a BTreeMap<Bytes, Bytes>,
    prefix: &'a Bytes,
    after: Option<&Bytes>,
) -> impl Iterator<Item = (Bytes, Bytes)> + 'a {
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(after.clone()),
        _ => Bound::Included(prefix.clone()),
    };
    memory
        .range((start, Bound::Unbounded))
        .take_while(move |(key, _)| key.starts_with(prefix))
        .map(|(key, value)| (key.clone(), value.clone()))
}

fn cut(entries: impl Iterator<Item = (Bytes, Bytes)>, bytes_max: usize, more: bool) -> StatePage {
    let mut page = StatePage { entries: Vec::new(), more };
    let mut bytes = 0;
    for (key, value) in entries {
        bytes += key.len() + value.len();
        if bytes > bytes_max && !page.entries.is_empty() {
            page.more = true;
            break;
        }
        page.entries.push((key, value));
    }
    page
}
