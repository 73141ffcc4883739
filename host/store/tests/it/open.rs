//! What an operator sees when a data directory cannot be used: an error with a code and what is needed to repair it,
//! never a panic, and nothing is changed.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use skep_core::Seq;
use skep_store::{Error, SqliteOptions, SqliteStore, Store};

use crate::child::{self, Running};
use crate::support::{commit, put, put_message};

fn open(dir: &Path) -> Result<SqliteStore, Error> {
    SqliteStore::open(dir, &SqliteOptions::default())
}

fn refusal(dir: &Path) -> (&'static str, String) {
    let error = open(dir).err().expect("a refusal");
    (error.code(), error.to_string())
}

/// The child: opens and tells what came of it.
pub(crate) fn open_and_tell(dir: &Path) {
    child::tell(&open(dir).map_or_else(|error| format!("{} {error}", error.code()), |_| "opened".to_owned()));
}

/// Changes a store that nobody has open.
fn edit(dir: &Path, sql: &str) {
    Connection::open(dir.join("skep.db")).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn makes_a_directory_but_not_the_one_above() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("none/two"));
    drop(open(&one).unwrap());
    let (code, text) = refusal(&two);
    assert_eq!(code, "E_STORE_DIR");
    assert!(text.contains("No such file or directory") && text.contains("none/two"), "{text}");
    let options = SqliteOptions { create: false, ..SqliteOptions::default() };
    assert_eq!(SqliteStore::open(&two, &options).err().unwrap().code(), "E_STORE_DIR");
    assert!(!two.exists());
}

#[test]
fn refuses_a_file_in_place_of_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "text").unwrap();
    let (code, text) = refusal(&file);
    assert_eq!(code, "E_STORE_DIR");
    assert!(text.contains("not a directory"), "{text}");
}

#[test]
fn refuses_a_directory_that_it_may_not_write_and_says_whose_it_is() {
    // Nobody can make a file there, not even root, as which tests often run.
    let (code, text) = refusal(Path::new("/proc"));
    assert_eq!(code, "E_STORE_DIR");
    for part in ["/proc", "owner is uid 0", "mode 0555", "this process has uid"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn refuses_a_directory_in_place_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("skep.db")).unwrap();
    assert_eq!(refusal(dir.path()).0, "E_STORE_DIR");
}

#[test]
fn a_second_opening_names_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let holder = format!("process {} on host {} since 20", std::process::id(), host.trim());
    let (code, text) = refusal(dir.path());
    assert_eq!(code, "E_STORE_LOCKED");
    assert!(text.contains(&holder), "{holder} is not in: {text}");
    let told = Running::start(child::command("open", dir.path())).rest();
    assert!(told[0].starts_with("E_STORE_LOCKED") && told[0].contains(&holder), "{told:?}");
    drop(store);
    assert_eq!(Running::start(child::command("open", dir.path())).rest(), ["opened"]);
}

#[test]
fn refuses_a_later_format_and_leaves_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    edit(dir.path(), "PRAGMA user_version = 99");
    let before = std::fs::read(dir.path().join("skep.db")).unwrap();
    let (code, text) = refusal(dir.path());
    assert_eq!(code, "E_STORE_FORMAT");
    assert!(text.contains("99") && text.contains(&skep_store::FORMAT.to_string()), "{text}");
    assert_eq!(std::fs::read(dir.path().join("skep.db")).unwrap(), before);
}

#[test]
fn refuses_what_is_not_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("skep.db");
    std::fs::write(&file, "no database at all, but longer than the first hundred bytes of one".repeat(9)).unwrap();
    let (code, text) = refusal(dir.path());
    assert_eq!(code, "E_STORE_FOREIGN");
    assert!(text.contains("not an SQLite database"), "{text}");
    for sql in ["CREATE TABLE theirs (a)", "PRAGMA application_id = 77"] {
        std::fs::remove_file(&file).unwrap();
        edit(dir.path(), sql);
        let before = std::fs::read(&file).unwrap();
        let (code, text) = refusal(dir.path());
        assert_eq!(code, "E_STORE_FOREIGN");
        assert!(text.contains("another program"), "{text}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }
}

#[test]
fn works_when_an_earlier_start_died_before_its_first_commit() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("skep.db"), "").unwrap();
    drop(open(dir.path()).unwrap());
    std::fs::remove_file(dir.path().join("skep.db")).unwrap();
    edit(dir.path(), "PRAGMA journal_mode = WAL");
    let store = open(dir.path()).unwrap();
    store.commit(&commit(vec![put_message(1, 1)])).unwrap();
    assert_eq!(store.messages(Seq(0), 9).unwrap().len(), 1);
}

#[test]
fn a_commit_waits_for_another_program_only_so_long() {
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteOptions { busy_max: Duration::from_millis(20), ..SqliteOptions::default() };
    let store = SqliteStore::open(dir.path(), &options).unwrap();
    let other = Connection::open(dir.path().join("skep.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let writes = commit(vec![put(1, b"a", b"1")]);
    assert_eq!(store.commit(&writes).unwrap_err().code(), "E_STORE_LOCKED");
    other.execute_batch("ROLLBACK").unwrap();
    store.commit(&writes).unwrap();
}

#[test]
fn another_program_reads_it_while_it_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.commit(&commit(vec![put_message(3, 0xab), put(2, b"key", b"value")])).unwrap();
    let other = Connection::open(dir.path().join("skep.db")).unwrap();
    let text = |sql| other.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("SELECT row || ' ' || receiver || ' ' || hex(id) || ' ' || kind FROM message"), {
        format!("3 2 {:032X} work", 0xab)
    });
    assert_eq!(text("SELECT space || ' ' || owner || ' ' || key || ' ' || value FROM record"), "3 2 key value");
    assert_eq!(text("SELECT value || '' FROM meta WHERE name = 'format'"), skep_store::FORMAT.to_string());
}

#[test]
fn a_clean_end_leaves_no_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.commit(&commit(vec![put(1, b"a", b"1")])).unwrap();
    assert!(dir.path().join("skep.db-wal").exists());
    drop(store);
    assert!(!dir.path().join("skep.db-wal").exists());
}
