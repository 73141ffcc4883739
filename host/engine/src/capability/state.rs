//! `state`: the agent's own key-value space, seen through what the turn has written. A write asks for its old value, so
//! that the budget is charged for the change alone. Never writes into a store.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::misuse;
use crate::bindings::skep::agent::state::{Entry, Host, Page, StateError};
use crate::ctx::Ctx;
use crate::failure::Halt;
use crate::host::TurnHost;

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 512;
/// The most keys of one `get-many`.
const KEYS_MAX: usize = 1_024;
/// The most entries of one `put-many`.
const ENTRIES_MAX: usize = 1_024;
/// The most bytes of one page of a scan.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// What is left out of the bytes of a page for the smallest entry: it bounds their number.
const ENTRY_BYTES_MIN: usize = 64;

impl<H: TurnHost> Host for Ctx<H> {
    async fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.current_one(&Bytes::from(key)).await?.map(Vec::from))
    }

    async fn get_many(&mut self, keys: Vec<String>) -> wasmtime::Result<Vec<Option<Vec<u8>>>> {
        if keys.len() > KEYS_MAX {
            return misuse(&format!("state.get-many with {} keys; {KEYS_MAX} is the most", keys.len()));
        }
        let keys = keys.into_iter().map(Bytes::from).collect();
        Ok(self.current(keys).await?.into_iter().map(|value| value.map(Vec::from)).collect())
    }

    async fn put(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), StateError>> {
        let (key, value) = (Bytes::from(key), Bytes::from(value));
        if let Some(error) = self.too_large(&key, &value) {
            return Ok(Err(error));
        }
        let old_bytes = self.current_one(&key).await?.map_or(0, |old| weight(&key, &old));
        let change_bytes = weight(&key, &value) - old_bytes;
        if let Err(text) = self.host.reserve_state(change_bytes) {
            return Ok(Err(StateError::Quota(text)));
        }
        self.state_change_bytes += change_bytes;
        self.turn()?.write(key, Some(value));
        Ok(Ok(()))
    }

    async fn put_many(&mut self, entries: Vec<Entry>) -> wasmtime::Result<Result<(), StateError>> {
        if entries.len() > ENTRIES_MAX {
            return misuse(&format!("state.put-many with {} entries; {ENTRIES_MAX} is the most", entries.len()));
        }
        let entries = entries.into_iter().map(|entry| (Bytes::from(entry.key), Bytes::from(entry.value))).collect();
        self.put_all(entries).await
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        let key = Bytes::from(key);
        if let Some(old) = self.current_one(&key).await? {
            self.change(-weight(&key, &old));
            self.turn()?.write(key, None);
        }
        Ok(())
    }

    async fn scan(&mut self, prefix: String, cursor: Option<String>, limit_bytes: u32) -> wasmtime::Result<Page> {
        let limit_bytes = (limit_bytes as usize).clamp(1, PAGE_BYTES_MAX);
        let mut scan =
            Scan { prefix: Bytes::from(prefix), after: cursor.map(Bytes::from), limit_bytes, found: Vec::new() };
        while self.scan_on(&mut scan).await? {}
        let more = scan.used_bytes() >= limit_bytes;
        let next = if more { scan.found.last().map(|(key, _)| text(key)).transpose()? } else { None };
        let entries = scan
            .found
            .into_iter()
            .map(|(key, value)| Ok(Entry { key: text(&key)?, value: value.into() }))
            .collect::<Result<_, Halt>>()?;
        Ok(Page { entries, next })
    }
}

impl<H: TurnHost> Ctx<H> {
    async fn read(&mut self, keys: Vec<Bytes>) -> Result<Vec<Option<Bytes>>, Halt> {
        let began = self.cpu.now();
        let values = self.host.read_state(keys).await;
        self.waited_since(began);
        Ok(values?)
    }

    /// The value that the turn sees.
    async fn current_one(&mut self, key: &Bytes) -> Result<Option<Bytes>, Halt> {
        if let Some(written) = self.turn()?.written(key) {
            return Ok(written.clone());
        }
        Ok(self.read(vec![key.clone()]).await?.pop().flatten())
    }

    /// The values that the turn sees.
    async fn current(&mut self, keys: Vec<Bytes>) -> Result<Vec<Option<Bytes>>, Halt> {
        let turn = self.turn()?;
        let written: Vec<Option<Option<Bytes>>> = keys.iter().map(|key| turn.written(key).cloned()).collect();
        let missing: Vec<Bytes> =
            keys.into_iter().zip(&written).filter(|(_, written)| written.is_none()).map(|(key, _)| key).collect();
        let mut read = if missing.is_empty() { Vec::new() } else { self.read(missing).await? }.into_iter();
        Ok(written.into_iter().map(|written| written.unwrap_or_else(|| read.next().flatten())).collect())
    }

    async fn put_all(&mut self, entries: Vec<(Bytes, Bytes)>) -> wasmtime::Result<Result<(), StateError>> {
        if let Some(error) = entries.iter().find_map(|(key, value)| self.too_large(key, value)) {
            return Ok(Err(error));
        }
        let old = self.current(entries.iter().map(|(key, _)| key.clone()).collect()).await?;
        let change_bytes = change_bytes(&entries, old);
        if let Err(text) = self.host.reserve_state(change_bytes) {
            return Ok(Err(StateError::Quota(text)));
        }
        self.state_change_bytes += change_bytes;
        let turn = self.turn()?;
        for (key, value) in entries {
            turn.write(key, Some(value));
        }
        Ok(Ok(()))
    }

    /// A change that makes the state smaller is within any budget.
    fn change(&mut self, change_bytes: i64) {
        let _ = self.host.reserve_state(change_bytes);
        self.state_change_bytes += change_bytes;
    }

    fn too_large(&self, key: &Bytes, value: &Bytes) -> Option<StateError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Some(StateError::TooLarge(format!(
                "a key of {} bytes; it must have 1 to {KEY_BYTES_MAX}",
                key.len()
            )));
        }
        let max = self.body_bytes_max as usize;
        (value.len() > max)
            .then(|| StateError::TooLarge(format!("a value of {} bytes; {max} is the most", value.len())))
    }

    /// Takes one page of the host and what the turn has written into the scan. Says whether to go on.
    async fn scan_on(&mut self, scan: &mut Scan) -> Result<bool, Halt> {
        let began = self.cpu.now();
        let left_bytes = scan.limit_bytes.saturating_sub(scan.used_bytes()).max(1);
        let page = self.host.scan_state(scan.prefix.clone(), scan.after.clone(), left_bytes).await;
        self.waited_since(began);
        let page = page?;
        let last = page.entries.last().map(|(key, _)| key.clone());
        // Beyond the host's page nothing is known yet, so what was written there must wait.
        let until = if page.more { last.clone() } else { None };
        if page.more && last.is_none() {
            return Err(Halt::Misuse("the host gave an empty page of state that is not the last".to_owned()));
        }
        let merged = scan.merged(page.entries, self.turn()?.overlay(), until.as_ref());
        let full = scan.take(merged);
        if !full && let Some(until) = until {
            scan.after = Some(until);
            return Ok(true);
        }
        Ok(false)
    }
}

/// A scan that is under way.
struct Scan {
    prefix: Bytes,
    after: Option<Bytes>,
    limit_bytes: usize,
    found: Vec<(Bytes, Bytes)>,
}

impl Scan {
    fn used_bytes(&self) -> usize {
        self.found.iter().map(|(key, value)| entry_bytes(key, value)).sum()
    }

    /// The host's entries with the turn's writes laid over them, up to and with the key `until`.
    fn merged(
        &self,
        entries: Vec<(Bytes, Bytes)>,
        overlay: &BTreeMap<Bytes, Option<Bytes>>,
        until: Option<&Bytes>,
    ) -> BTreeMap<Bytes, Bytes> {
        let mut merged: BTreeMap<Bytes, Bytes> = entries.into_iter().collect();
        let start = match &self.after {
            Some(after) if *after >= self.prefix => Bound::Excluded(after.clone()),
            _ => Bound::Included(self.prefix.clone()),
        };
        let written = overlay
            .range((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&self.prefix) && until.is_none_or(|until| *key <= until));
        for (key, value) in written {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        merged
    }

    /// Takes entries until the page is full: at least one, whatever its size. Says whether it is full.
    fn take(&mut self, entries: BTreeMap<Bytes, Bytes>) -> bool {
        let mut used_bytes = self.used_bytes();
        for (key, value) in entries {
            if used_bytes >= self.limit_bytes {
                return true;
            }
            used_bytes += entry_bytes(&key, &value);
            self.found.push((key, value));
        }
        used_bytes >= self.limit_bytes
    }
}

fn entry_bytes(key: &Bytes, value: &Bytes) -> usize {
    (key.len() + value.len()).max(ENTRY_BYTES_MIN)
}

fn weight(key: &Bytes, value: &Bytes) -> i64 {
    (key.len() + value.len()) as i64
}

/// By how much the state grows. A key may be there twice: the later value counts.
fn change_bytes(entries: &[(Bytes, Bytes)], old: Vec<Option<Bytes>>) -> i64 {
    let mut after: BTreeMap<&Bytes, i64> = BTreeMap::new();
    let mut before: BTreeMap<&Bytes, i64> = BTreeMap::new();
    for ((key, value), old) in entries.iter().zip(old) {
        after.insert(key, weight(key, value));
        before.insert(key, old.map_or(0, |old| weight(key, &old)));
    }
    after.values().sum::<i64>() - before.values().sum::<i64>()
}

/// Keys come from guests as text, so they are text.
fn text(key: &Bytes) -> Result<String, Halt> {
    String::from_utf8(key.to_vec())
        .map_err(|_| Halt::State(crate::host::StateUnreadable("a key is not UTF-8".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::skep::agent::turn::Host as _;
    use crate::bindings::skep::agent::types::Refusal;
    use crate::testing::{Yes, ctx, turn};

    fn begun() -> Ctx<Yes> {
        let mut ctx = ctx(turn(2));
        ctx.begin(0).unwrap();
        ctx
    }

    fn keys(page: &Page) -> Vec<&str> {
        page.entries.iter().map(|entry| entry.key.as_str()).collect()
    }

    async fn put(ctx: &mut Ctx<Yes>, key: &str, value: &str) -> Result<(), StateError> {
        ctx.put(key.to_owned(), value.as_bytes().to_vec()).await.unwrap()
    }

    #[tokio::test]
    async fn a_turn_reads_what_it_has_written() {
        let mut ctx = begun();
        ctx.host.state.insert("a".into(), "old".into());
        assert_eq!(ctx.get("a".to_owned()).await.unwrap(), Some(b"old".to_vec()));
        put(&mut ctx, "a", "new").await.unwrap();
        put(&mut ctx, "b", "b").await.unwrap();
        ctx.delete("b".to_owned()).await.unwrap();
        let keys = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(ctx.get_many(keys).await.unwrap(), [Some(b"new".to_vec()), None, None]);
    }

    #[tokio::test]
    async fn the_budget_is_charged_for_the_change_alone_and_gets_it_back() {
        let mut ctx = begun();
        ctx.host.state.insert("a".into(), vec![0; 100].into());
        put(&mut ctx, "a", &"x".repeat(150)).await.unwrap();
        assert_eq!(ctx.host.state_bytes, 50);
        put(&mut ctx, "a", "x").await.unwrap();
        assert_eq!(ctx.host.state_bytes, -99);
        ctx.refuse(0, Refusal::Failed(String::new())).unwrap();
        assert_eq!(ctx.host.state_bytes, 0);
        assert!(matches!(put(&mut ctx, "b", &"x".repeat(1_001)).await, Err(StateError::Quota(_))));
        assert_eq!(ctx.get("b".to_owned()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn of_a_key_that_is_given_twice_the_later_value_counts() {
        let mut ctx = begun();
        let entry = |value: &[u8]| Entry { key: "k".to_owned(), value: value.to_vec() };
        ctx.put_many(vec![entry(b"longer"), entry(b"x")]).await.unwrap().unwrap();
        assert_eq!(ctx.host.state_bytes, 2);
        assert_eq!(ctx.get("k".to_owned()).await.unwrap(), Some(b"x".to_vec()));
    }

    #[tokio::test]
    async fn refuses_keys_and_values_that_are_too_large() {
        let mut ctx = begun();
        for key in [String::new(), "k".repeat(513)] {
            assert!(matches!(put(&mut ctx, &key, "").await, Err(StateError::TooLarge(_))));
        }
        assert!(matches!(put(&mut ctx, "k", &"x".repeat((1 << 20) + 1)).await, Err(StateError::TooLarge(_))));
        assert!(ctx.get_many(vec![String::new(); 1_025]).await.is_err());
    }

    #[tokio::test]
    async fn a_scan_sees_what_the_turn_has_written() {
        let mut ctx = begun();
        for key in ["p/a", "p/b", "p/d", "q"] {
            ctx.host.state.insert(key.into(), "old".into());
        }
        ctx.delete("p/b".to_owned()).await.unwrap();
        put(&mut ctx, "p/c", "new").await.unwrap();
        put(&mut ctx, "p/d", "new").await.unwrap();
        let page = ctx.scan("p/".to_owned(), None, 1 << 20).await.unwrap();
        assert_eq!(keys(&page), ["p/a", "p/c", "p/d"]);
        assert_eq!(page.entries[2].value, b"new");
        assert_eq!(page.next, None);
    }

    #[tokio::test]
    async fn pages_of_any_size_add_up_to_the_whole() {
        let mut ctx = begun();
        let all: Vec<String> = (0..40).map(|count| format!("k{count:02}")).collect();
        for (count, key) in all.iter().enumerate() {
            match count % 3 {
                0 => drop(ctx.host.state.insert(key.clone().into(), "host".into())),
                1 => put(&mut ctx, key, "turn").await.unwrap(),
                _ => {
                    ctx.host.state.insert(key.clone().into(), "host".into());
                    ctx.delete(key.clone()).await.unwrap();
                }
            }
        }
        let expected: Vec<&String> =
            all.iter().enumerate().filter(|(count, _)| count % 3 < 2).map(|(_, key)| key).collect();
        for limit_bytes in [0, 1, 64, 65, 200, 4_000] {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let page = ctx.scan("k".to_owned(), cursor, limit_bytes).await.unwrap();
                assert!(!page.entries.is_empty() || page.next.is_none());
                found.extend(page.entries.into_iter().map(|entry| entry.key));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{limit_bytes}");
        }
    }
}
