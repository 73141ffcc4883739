//! Where a host listens and how it is found: a socket in a folder of the user's own, its path in the data directory.
//! Never a socket that somebody else could have put there.

use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use skep_core::MessageId;
use skep_core::name::shown;
use tokio::net::{UnixListener, UnixStream};

use crate::failure::{Failure, Outcome};
use crate::file::open_regular;
use crate::sys;

/// The longest path of a socket, in bytes: `sun_path` less its end.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// The file in a data directory that holds the path of its host's socket.
const NOTE: &str = "socket";
/// The most that is read of it, in bytes: a path and the end of its line.
const NOTE_BYTES_MAX: u64 = SOCKET_PATH_BYTES_MAX as u64 + 1;

/// A socket that a host listens on; its path and its note go when it is dropped.
#[derive(Debug)]
pub struct Bound {
    path: PathBuf,
    note: PathBuf,
}

impl Drop for Bound {
    fn drop(&mut self) {
        // What is left over is recognised as stale by whoever comes next.
        let _ = std::fs::remove_file(&self.note);
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The path of the socket of the host of a data directory; none if no host has noted one.
pub fn noted(data: &Path) -> Option<PathBuf> {
    let note = open_regular(&data.join(NOTE), std::fs::File::options().read(true)).ok()?;
    let mut text = String::new();
    note.take(NOTE_BYTES_MAX).read_to_string(&mut text).ok()?;
    let path = PathBuf::from(text.trim_end_matches('\n'));
    path.is_absolute().then_some(path)
}

/// Removes what a host that was killed has left: its socket, and the note of it. The caller knows that it has ended.
pub fn clear(data: &Path) {
    if let Some(path) = noted(data) {
        // As in `Bound`.
        let _ = std::fs::remove_file(path);
        let _ = std::fs::remove_file(data.join(NOTE));
    }
}

/// Listens for the host of a data directory. The caller holds the lock of that directory, so a socket that nobody
/// answers on is left over from a host that was killed.
pub async fn bind(data: &Path) -> Outcome<(UnixListener, Bound)> {
    let data = data.canonicalize().map_err(|error| Failure::io(&shown_path(data), &error))?;
    let path = folder()?.join(file_name(&data));
    clear_stale(&path).await?;
    let listener = UnixListener::bind(&path)
        .map_err(|error| Failure::new("E_SOCKET", format!("no socket at {}: {error}", shown_path(&path))))?;
    let bound = Bound { note: data.join(NOTE), path };
    write_note(&bound).map_err(|error| Failure::io(&shown_path(&bound.note), &error))?;
    Ok((listener, bound))
}

async fn clear_stale(path: &Path) -> Outcome {
    match UnixStream::connect(path).await {
        Ok(_) => {
            let message = format!("another host answers on {}", shown_path(path));
            Err(Failure::new("E_HOST_RUNNING", message))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(_) => std::fs::remove_file(path).map_err(|error| Failure::io(&shown_path(path), &error)),
    }
}

/// Written beside and renamed, so that nobody reads half a path.
fn write_note(bound: &Bound) -> io::Result<()> {
    let beside = bound.note.with_extension("new");
    std::fs::write(&beside, format!("{}\n", bound.path.display()))?;
    std::fs::rename(&beside, &bound.note)
}

fn file_name(data: &Path) -> String {
    let id = MessageId::of_text("socket", &data.to_string_lossy()).to_string();
    format!("{}.sock", id.get(..16).unwrap_or(&id))
}

/// A folder that only this user can enter: in the user's runtime folder, else in the temporary one.
fn folder() -> Outcome<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let of_user = own.map(|path| path.join("skep")).filter(|path| is_short(path) && make_private(path).is_ok());
    if let Some(folder) = of_user {
        return Ok(folder);
    }
    let name = format!("skep-{}", sys::user());
    let temporary = std::env::temp_dir().join(&name);
    let folder = if is_short(&temporary) { temporary } else { Path::new("/tmp").join(name) };
    make_private(&folder)
        .map_err(|error| Failure::new("E_SOCKET", format!("{} cannot hold sockets: {error}", shown_path(&folder))))?;
    Ok(folder)
}

fn is_short(folder: &Path) -> bool {
    // A slash, 16 digits and `.sock`.
    folder.as_os_str().len() + 22 <= SOCKET_PATH_BYTES_MAX
}

/// Makes the folder, or makes sure that the one that is there is this user's and nobody else's.
fn make_private(folder: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(folder)?;
    if !found.is_dir() || found.uid() != sys::user() || found.mode() & 0o077 != 0 {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "it must be a folder of yours with mode 0700"));
    }
    Ok(())
}

/// A path, safe to show.
pub fn shown_path(path: &Path) -> String {
    shown(&path.to_string_lossy(), 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let data = tempfile::tempdir().unwrap();
        let (listener, bound) = bind(data.path()).await.unwrap();
        assert_eq!(noted(data.path()).as_ref(), Some(&bound.path));
        assert!(bound.path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX);
        assert_eq!(bind(data.path()).await.unwrap_err().code, "E_HOST_RUNNING");
        drop(listener);
        // As after kill -9: nobody listens and the file is still there.
        let (_listener, again) = bind(data.path()).await.unwrap();
        assert_eq!(again.path, bound.path);
        std::mem::forget(bound);
        drop(again);
        assert_eq!(noted(data.path()), None);
    }

    #[test]
    fn refuses_a_folder_that_others_can_enter() {
        let outer = tempfile::tempdir().unwrap();
        let open = outer.path().join("open");
        std::fs::DirBuilder::new().mode(0o755).create(&open).unwrap();
        assert!(make_private(&open).is_err());
        let link = outer.path().join("link");
        std::os::unix::fs::symlink(outer.path(), &link).unwrap();
        assert!(make_private(&link).is_err());
        assert!(make_private(&outer.path().join("new")).is_ok());
    }
}
