//! A component file in memory: read once, so that what is checked is what is run, whatever happens to the file. Never
//! compiles it.

use std::fs::{File, FileType};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use skep_core::Digest;
use skep_core::name::shown;

use crate::error::Error;
use crate::looks;

/// What is shown of a path, in characters.
const PATH_CHARS_MAX: usize = 256;

/// The bytes of a component file, its digest, and where it was.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// All of the file.
    pub bytes: Bytes,
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// Where the file was.
    pub path: PathBuf,
}

impl Plugin {
    /// From bytes that are in memory already. `path` is for messages.
    pub fn from_bytes(bytes: Bytes, path: &Path) -> Self {
        let digest = Digest(Sha256::digest(&bytes).into());
        Self { bytes, digest, path: path.to_owned() }
    }

    /// Reads a file that is at most so large, and checks that it is a component and the one that is expected.
    pub(crate) fn load(path: &Path, bytes_max: u64, expect: Option<Digest>) -> Result<Self, Error> {
        let plugin = read(path, bytes_max).map(|bytes| Self::from_bytes(bytes, path))?;
        match expect {
            Some(expected) if expected != plugin.digest => Err(Error::Digest { expected, found: plugin.digest }),
            _ => looks::like_component(&plugin.bytes).map(|()| plugin),
        }
    }
}

/// A path for messages.
pub(crate) fn shown_path(path: &Path) -> String {
    shown(&path.to_string_lossy(), PATH_CHARS_MAX)
}

/// Opens a regular file to read it. Anything else (a pipe, a device, a directory) is an error at once, which says what it
/// is: nothing is ever waited for, whatever becomes of the path meanwhile.
pub fn open_regular(path: &Path) -> std::io::Result<File> {
    // A pipe would wait for who writes into it, and a terminal would become this process's own.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    match what_else(file.metadata()?.file_type()) {
        None => Ok(file),
        Some(what) => Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, format!("{what}, not a regular file"))),
    }
}

/// What a file is that is not a regular one. A socket cannot be opened at all.
fn what_else(sort: FileType) -> Option<&'static str> {
    match sort {
        sort if sort.is_file() => None,
        sort if sort.is_dir() => Some("a directory"),
        sort if sort.is_fifo() => Some("a pipe"),
        sort if sort.is_char_device() || sort.is_block_device() => Some("a device"),
        _ => Some("a special file"),
    }
}

fn read(path: &Path, bytes_max: u64) -> Result<Bytes, Error> {
    let io = |error: std::io::Error| Error::Io(error.to_string());
    let file = open_regular(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if metadata.len() > bytes_max {
        return Err(Error::TooLarge { bytes: metadata.len(), bytes_max });
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    // It may have grown since.
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Error::TooLarge { bytes: bytes.len() as u64, bytes_max });
    }
    Ok(bytes.into())
}
