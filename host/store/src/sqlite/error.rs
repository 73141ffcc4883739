//! What SQLite and the system say, turned into what the callers can do about it. It never decides to try again.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, ffi};
use skep_core::name::shown;

use crate::store::Error;

/// The longest text of SQLite in an error, in characters.
const TEXT_CHARS_MAX: usize = 256;

/// What a connection was doing when it failed: the same code is harmless in one case and fatal in the other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// Nothing can be half done.
    Reading,
    /// What is on disk may be unknown.
    Writing,
}

/// A path that is safe to show.
pub(super) fn shown_path(path: &Path) -> String {
    shown(&path.to_string_lossy(), TEXT_CHARS_MAX)
}

/// A failure of an open connection.
pub(super) fn classify(problem: &rusqlite::Error, connection: &Connection, doing: Doing) -> Error {
    let text = shown(&problem.to_string(), TEXT_CHARS_MAX);
    let Some(found) = problem.sqlite_error() else {
        // A column of another type than the format says: somebody has edited the file.
        return Error::Corrupt { place: doing.place().to_owned(), detail: text };
    };
    match found.code {
        ErrorCode::DiskFull => Error::NoRoom(text),
        ErrorCode::SystemIoFailure => io_failure(found.extended_code, text, connection, doing),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            Error::Corrupt { place: doing.place().to_owned(), detail: text }
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            Error::Locked { path: "skep.db".to_owned(), holder: format!("another program ({text})") }
        }
        ErrorCode::TooBig => Error::Invalid(text),
        _ if doing == Doing::Reading => Error::Corrupt { place: doing.place().to_owned(), detail: text },
        _ => Error::Fatal(text),
    }
}

/// A write that found no room was before the commit's mark in the log, so the commit did not happen. Whatever fails later
/// (a sync, the log's index) leaves it unknown, however harmless the reason sounds: the kernel may have dropped what it
/// could not write, or the mark may be there for the next start to find.
fn io_failure(extended_code: i32, text: String, connection: &Connection, doing: Doing) -> Error {
    let errno = system_errno(connection);
    let text = format!("{text}: {}", std::io::Error::from_raw_os_error(errno));
    let no_room = matches!(errno, libc::ENOSPC | libc::EDQUOT | libc::EFBIG);
    match doing {
        _ if no_room && extended_code == ffi::SQLITE_IOERR_WRITE => Error::NoRoom(text),
        Doing::Reading => Error::Corrupt { place: doing.place().to_owned(), detail: text },
        Doing::Writing => Error::Fatal(text),
    }
}

/// A failure while the store is opened, when nothing has been written.
pub(super) fn opening(problem: &rusqlite::Error, connection: &Connection, file: &Path) -> Error {
    match problem.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => Error::Foreign {
            path: shown_path(file),
            detail: "not an SQLite database, or one whose first page is damaged".to_owned(),
        },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::Locked { path: shown_path(file), holder: "another program".to_owned() }
        }
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => cannot_open(problem, file),
        _ => classify(problem, connection, Doing::Writing),
    }
}

/// The file itself cannot be opened.
pub(super) fn cannot_open(problem: &rusqlite::Error, file: &Path) -> Error {
    Error::Directory {
        path: file.parent().map(shown_path).unwrap_or_default(),
        detail: format!("skep.db: {}", shown(&problem.to_string(), TEXT_CHARS_MAX)),
    }
}

#[expect(unsafe_code, reason = "rusqlite does not hand out the errno of a failed system call")]
fn system_errno(connection: &Connection) -> i32 {
    // SAFETY: the handle is that of an open connection, and is only read.
    unsafe { ffi::sqlite3_system_errno(connection.handle()) }
}
