//! A disk gives back other bytes than it was given. Whatever they are: an error with a code or what was written, never
//! another value, never a panic.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use skep_core::{AgentId, Seq};
use skep_store::{Error, Space, SqliteOptions, SqliteStore, Store};

use crate::support::{commit, message, put};

const OWNERS: u32 = 60;

fn open(dir: &Path) -> Result<SqliteStore, Error> {
    SqliteStore::open(dir, &SqliteOptions::default())
}

fn value(owner: u32) -> Bytes {
    Bytes::from(vec![owner as u8; 100 + owner as usize * 20])
}

/// Bytes that no value has.
fn body(row: u64) -> Vec<u8> {
    vec![row as u8 + 100; 200]
}

/// A store of some pages, closed.
fn filled() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let mut writes: Vec<_> = (0..OWNERS).map(|owner| put(owner, b"key", &value(owner))).collect();
    writes.extend((1..=60).map(|row| skep_store::Write::PutMessage {
        row: Seq(row),
        to: AgentId(2),
        message: message(u128::from(row), &body(row)),
    }));
    store.commit(&commit(writes)).unwrap();
    drop(store);
    let file = dir.path().join("skep.db");
    let bytes = std::fs::read(&file).unwrap();
    (dir, file, bytes)
}

/// Reads everything there is; the codes of what went wrong.
fn read_all(dir: &Path) -> Vec<&'static str> {
    let store = match open(dir) {
        Ok(store) => store,
        Err(error) => return vec![error.code()],
    };
    let mut codes = Vec::new();
    match store.messages(Seq(0), usize::MAX) {
        Ok(found) => found.iter().for_each(|held| {
            let row = held.message.row.unwrap().0;
            assert_eq!(held.message.body, body(row), "message {row}");
        }),
        Err(error) => codes.push(error.code()),
    }
    for owner in 0..OWNERS {
        match store.get(Space::State, AgentId(owner), &[Bytes::from_static(b"key")]) {
            Ok(found) => assert!(found[0].is_none() || found[0] == Some(value(owner)), "record of {owner}"),
            Err(error) => codes.push(error.code()),
        }
        if let Err(error) = store.scan(Space::State, AgentId(owner), b"", None, usize::MAX) {
            codes.push(error.code());
        }
    }
    codes.extend(store.owners(Space::State).err().map(|error| error.code()));
    codes
}

#[test]
fn a_page_of_noise_is_reported() {
    let (dir, file, bytes) = filled();
    assert_eq!(read_all(dir.path()), [""; 0]);
    let pages = bytes.len() / 4096;
    assert!(pages > 8, "{pages} pages");
    let mut silent = Vec::new();
    for page in 0..pages {
        let mut damaged = bytes.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0xa5);
        std::fs::write(&file, damaged).unwrap();
        let codes = read_all(dir.path());
        let expected = if page == 0 { "E_STORE_FOREIGN" } else { "E_STORE_CORRUPT" };
        assert!(codes.iter().all(|code| *code == expected), "page {page}: {codes:?}");
        if codes.is_empty() {
            silent.push(page);
        }
    }
    assert!(silent.len() <= 1, "only the page of `meta`, which people read, may go unnoticed: {silent:?}");
}

#[test]
fn a_flipped_bit_in_a_value_or_a_body_is_reported() {
    let (dir, file, bytes) = filled();
    for (byte, place) in [(33, "record (3, 33, key)"), (144, "message 44")] {
        let mut damaged = bytes.clone();
        // A page that was split still has a copy of the row in its free part, so every run is damaged.
        let runs = (50..bytes.len() - 50).filter(|at| bytes[at - 50..at + 50] == [byte; 100]);
        runs.for_each(|at| damaged[at] ^= 0x10);
        assert!(damaged != bytes);
        std::fs::write(&file, damaged).unwrap();
        let store = open(dir.path()).unwrap();
        let texts = [
            store.messages(Seq(0), usize::MAX).err(),
            store.get(Space::State, AgentId(33), &[Bytes::from_static(b"key")]).err(),
        ];
        let texts: Vec<String> = texts.into_iter().flatten().map(|error| error.to_string()).collect();
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(texts[0].contains(place) && texts[0].contains("sum"), "{texts:?}");
        assert!(store.get(Space::State, AgentId(34), &[Bytes::from_static(b"key")]).is_ok(), "others are not affected");
    }
}

#[test]
fn a_flipped_bit_anywhere_never_gives_another_value() {
    let (dir, file, bytes) = filled();
    // A stride that is prime to the page, so that every kind of place is met.
    for at in (0..bytes.len()).step_by(211) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&file, damaged).unwrap();
        for code in read_all(dir.path()) {
            assert!(code.starts_with("E_STORE_"), "{code}");
        }
        // Its journal mode may be what was damaged.
        for extra in ["skep.db-wal", "skep.db-shm", "skep.db-journal"] {
            let _ = std::fs::remove_file(dir.path().join(extra));
        }
    }
}

#[test]
fn a_row_that_a_person_has_edited_is_read_if_its_sum_is_gone() {
    let (dir, file, _) = filled();
    let edit = |sql: &str| rusqlite::Connection::open(&file).unwrap().execute(sql, []).unwrap();
    let read = || open(dir.path()).unwrap().get(Space::State, AgentId(3), &[Bytes::from_static(b"key")]);
    edit("UPDATE record SET value = x'6f6b' WHERE owner = 3");
    assert_eq!(read().unwrap_err().code(), "E_STORE_CORRUPT");
    edit("UPDATE record SET sum = NULL WHERE owner = 3");
    assert_eq!(read().unwrap(), [Some(Bytes::from_static(b"ok"))]);
    edit("UPDATE record SET value = 'text' WHERE owner = 3");
    assert_eq!(read().unwrap_err().code(), "E_STORE_CORRUPT");
}

#[test]
fn a_lost_file_beside_the_plugins_of_an_earlier_life_is_no_fresh_start() {
    let (dir, file, _) = filled();
    std::fs::create_dir(dir.path().join("plugins")).unwrap();
    std::fs::remove_file(&file).unwrap();
    drop(open(dir.path()).unwrap());
    std::fs::write(dir.path().join("plugins/x.wasm"), "x").unwrap();
    drop(open(dir.path()).unwrap());
    std::fs::write(&file, "").unwrap();
    let empty = open(dir.path()).err().unwrap();
    std::fs::remove_file(&file).unwrap();
    let missing = open(dir.path()).err().unwrap();
    assert_eq!((empty.code(), missing.code()), ("E_STORE_CORRUPT", "E_STORE_CORRUPT"));
    assert!(empty.to_string().contains("empty") && missing.to_string().contains("missing"));
    assert!(!file.exists(), "nothing is made in its place");
}
