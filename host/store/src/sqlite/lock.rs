//! The lock on a data directory: one host at a time, named in the file. The kernel holds it, so a host that is killed
//! leaves none behind, and what the file says then is only history.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use skep_core::name::shown;

use super::error::shown_path;
use crate::store::Error;

/// The longest text of a holder that is read, in bytes.
const HOLDER_BYTES_MAX: u64 = 512;

/// Held until it is dropped.
#[derive(Debug)]
pub(super) struct DirLock {
    file: File,
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing is not enough while a child that is just being started still has a copy of the descriptor. If it fails
        // there is nobody to tell, and closing will do it.
        let _ = self.file.unlock();
    }
}

/// Takes the lock of a directory that is there, or names who has it.
pub(super) fn take(dir: &Path) -> Result<DirLock, Error> {
    let path = dir.join("lock");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = opened.map_err(|problem| unusable(dir, &problem))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::Locked { path: shown_path(dir), holder: holder(&mut file) });
        }
        Err(TryLockError::Error(problem)) => return Err(unusable(dir, &problem)),
    }
    let text = format!("process {} on host {} since {}\n", std::process::id(), host_name(), now());
    let written = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
    written.map_err(|problem| unusable(dir, &problem))?;
    Ok(DirLock { file })
}

/// A directory that cannot be used, with what a person needs in order to repair it.
pub(super) fn unusable(dir: &Path, problem: &std::io::Error) -> Error {
    let found = match std::fs::metadata(dir) {
        Ok(about) if about.is_dir() => {
            format!("; its owner is uid {} and its mode {:04o}", about.uid(), about.mode() & 0o7777)
        }
        Ok(_) => "; it is not a directory".to_owned(),
        Err(_) => String::new(),
    };
    Error::Directory {
        path: shown_path(dir),
        detail: format!("{problem}{found}; this process has uid {}", effective_uid()),
    }
}

fn holder(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let read = file.take(HOLDER_BYTES_MAX).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    match text.trim() {
        // Between taking the lock and writing its name.
        "" => "another host that is just starting".to_owned(),
        text if read.is_ok() => shown(text, 256),
        _ => "another host".to_owned(),
    }
}

fn host_name() -> String {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    name.map_or_else(|_| "unknown".to_owned(), |name| shown(name.trim(), 64))
}

/// The time for people. The database is the only calendar at hand.
fn now() -> String {
    let asked = rusqlite::Connection::open_in_memory()
        .and_then(|memory| memory.query_row("SELECT strftime('%Y-%m-%dT%H:%M:%SZ', 'now')", [], |row| row.get(0)));
    asked.unwrap_or_else(|_| "an unknown time".to_owned())
}

#[expect(unsafe_code, reason = "the standard library does not say who runs this process")]
fn effective_uid() -> u32 {
    // SAFETY: takes nothing, returns a number, cannot fail.
    unsafe { libc::geteuid() }
}
