//! Files that must be files: a pipe or a device under their name would keep a command waiting. Never what is in them.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a regular file; anything else under that name is an error at once.
pub fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // Without it the open itself waits for somebody at the other end of a pipe. A regular file does not heed it.
    let file = options.custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"))
}
