//! The agent's own durable keys and values, beside the struct: for what is too large or too many to be in it.

use std::collections::VecDeque;
use std::marker::PhantomData;

use super::Context;
use crate::body::Body;
use crate::error::{Result, StateError};
use crate::host::state;

/// Keys that start so belong to the SDK.
const RESERVED: &str = "skep.";

/// How much one call of the host brings when scanning.
const SCAN_BYTES: u32 = 64 * 1024;

/// The agent's keys and values. A turn reads its own writes; they become visible with its commit.
#[derive(Clone, Copy, Debug)]
pub struct State(());

impl Context {
    /// The agent's keys and values.
    pub fn state(&self) -> State {
        State(())
    }
}

impl State {
    /// None if the key is not there.
    pub fn get<T: Body>(&self, key: &str) -> Result<Option<T>, StateError> {
        state::get(key).map(|value| decode(key, value)).transpose()
    }

    /// As [`State::get`], for each key in its place. At most 1,024 keys: more trap.
    pub fn get_many<T: Body>(&self, keys: &[String]) -> Result<Vec<Option<T>>, StateError> {
        let values = state::get_many(keys);
        keys.iter().zip(values).map(|(key, value)| value.map(|value| decode(key, value)).transpose()).collect()
    }

    /// Sets a value. Keys have 1 to 512 bytes and must not start with `skep.`.
    pub fn put<T: Body>(&self, key: &str, value: &T) -> Result<(), StateError> {
        unreserved(key)?;
        let value = value.encode().map_err(StateError::Mismatch)?;
        state::put(key, &value).map_err(StateError::lift)
    }

    /// Sets all values or none.
    pub fn put_many<T: Body>(&self, entries: &[(String, T)]) -> Result<(), StateError> {
        let mut list = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            unreserved(key)?;
            let value = value.encode().map_err(StateError::Mismatch)?.into_owned();
            list.push(state::Entry { key: key.clone(), value });
        }
        state::put_many(&list).map_err(StateError::lift)
    }

    /// Removes a key; none is no error.
    pub fn delete(&self, key: &str) -> Result<(), StateError> {
        unreserved(key)?;
        state::delete(key);
        Ok(())
    }

    /// All entries whose key starts with `prefix`, in order. They are brought 64 KiB at a time.
    pub fn scan<T: Body>(&self, prefix: &str) -> Scan<T> {
        self.scan_after(prefix, None)
    }

    /// [`State::scan`] from behind a key: to go on where another turn stopped.
    pub fn scan_after<T: Body>(&self, prefix: &str, after: Option<&str>) -> Scan<T> {
        let cursor = after.map(str::to_owned);
        Scan { prefix: prefix.to_owned(), cursor, ready: VecDeque::new(), ended: false, of: PhantomData }
    }
}

fn decode<T: Body>(key: &str, value: Vec<u8>) -> Result<T, StateError> {
    T::decode(value).map_err(|error| StateError::Mismatch(format!("{key}: {error}")))
}

fn unreserved(key: &str) -> Result<(), StateError> {
    if key.starts_with(RESERVED) { Err(StateError::Reserved(key.to_owned())) } else { Ok(()) }
}

/// The entries of a scan. The SDK's own keys are left out.
#[derive(Debug)]
pub struct Scan<T> {
    prefix: String,
    cursor: Option<String>,
    ready: VecDeque<state::Entry>,
    ended: bool,
    of: PhantomData<T>,
}

impl<T: Body> Iterator for Scan<T> {
    type Item = Result<(String, T), StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(state::Entry { key, value }) = self.ready.pop_front() {
                if key.starts_with(RESERVED) {
                    continue;
                }
                return Some(decode(&key, value).map(|value| (key, value)));
            }
            if self.ended {
                return None;
            }
            let page = state::scan(&self.prefix, self.cursor.as_deref(), SCAN_BYTES);
            self.ended = page.next.is_none();
            self.cursor = page.next;
            self.ready = page.entries.into();
        }
    }
}
