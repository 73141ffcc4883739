//! Where the bench finds its guest and puts its data: on a real disk, since a file system in memory syncs nothing.

use std::path::{Path, PathBuf};

use crate::api::socket::shown_path;
use crate::failure::{Failure, Outcome};
use crate::process::make_data_dir;
use crate::signals::Signals;

const GUEST: &str = "bench.wasm";
/// Attempts at the removal of a directory that is still used.
const REMOVALS_MAX: u32 = 100;

/// The guest that was named, or the one that `make guests` has built.
pub(super) fn guest(named: Option<&Path>) -> Outcome<PathBuf> {
    let places = named.map_or_else(usual_places, |named| vec![named.to_owned()]);
    let found = places.iter().find(|place| place.is_file()).ok_or_else(|| {
        let places: Vec<String> = places.iter().map(|place| shown_path(place)).collect();
        Failure::new("E_BENCH_COMPONENT", format!("the bench's guest is not at {}", places.join(" or ")))
    })?;
    found.canonicalize().map_err(|error| Failure::io(&shown_path(found), &error))
}

fn usual_places() -> Vec<PathBuf> {
    crate::guests::folders().into_iter().map(|folder| folder.join(GUEST)).collect()
}

/// A new directory of the bench's own: below the one that was named, the system's temporary one, or this folder if that
/// is in memory. Removed when it is dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(named: Option<&Path>) -> Outcome<Self> {
        let temp = std::env::temp_dir();
        let above = match named {
            Some(named) => named.to_owned(),
            None if in_memory(&temp) => PathBuf::from("."),
            None => temp,
        };
        let dir = above.join(format!("skep-bench-{}", std::process::id()));
        remove_on_signal(dir.clone())?;
        make_data_dir(&dir)?;
        // From here on it is removed, whatever follows.
        let mut scratch = Self(dir);
        scratch.0 = scratch.0.canonicalize().map_err(|error| Failure::io(&shown_path(&scratch.0), &error))?;
        if in_memory(&scratch.0) {
            let message = format!("{} is in memory: nothing durable can be measured there", shown_path(&scratch.0));
            return Err(Failure::new("E_BENCH_FAILED", message).with_help("name a directory on a disk: --data DIR"));
        }
        Ok(scratch)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Trials block, so a thread of its own waits for the signals that end the bench.
fn remove_on_signal(dir: PathBuf) -> Outcome {
    let broken = |error| Failure::io("the thread of the signals", &error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
    // From here on, and not only when the thread runs.
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let wait = move || {
        let code = runtime.block_on(signals.next());
        remove(&dir);
        std::process::exit(code.into());
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop).map_err(broken)
}

/// Trials that still run may make files while others are removed, so it is tried again. What is left over in the end is
/// in the way of nobody but its reader.
fn remove(dir: &Path) {
    for _ in 0..REMOVALS_MAX {
        if !dir.exists() || std::fs::remove_dir_all(dir).is_ok() {
            return;
        }
    }
}

/// Whether a directory is on a file system in memory. One that cannot be told is taken for a disk.
fn in_memory(dir: &Path) -> bool {
    let Ok(dir) = dir.canonicalize() else { return false };
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    kind_of(&mounts, &dir).is_some_and(|kind| kind == "tmpfs" || kind == "ramfs")
}

/// The kind of the file system that a path is on: that of the longest mount point above it, the last one if there are
/// several.
fn kind_of<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let parts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let above = parts.filter_map(|parts| {
        let (point, kind) = (parts.get(1)?, parts.get(2)?);
        path.starts_with(point).then_some((point.len(), *kind))
    });
    above.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_nearest_mount() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /tmp/disk ext4 rw 0 0\n";
        let kind = |path: &str| kind_of(mounts, Path::new(path));
        assert_eq!(kind("/home/x"), Some("ext4"));
        assert_eq!(kind("/tmp/x"), Some("tmpfs"));
        assert_eq!(kind("/tmp/disk/x"), Some("ext4"));
    }

    #[test]
    fn a_guest_that_is_not_there_is_told_with_its_place() {
        let failure = guest(Some(Path::new("/nowhere/bench.wasm"))).unwrap_err();
        assert_eq!(failure.code, "E_BENCH_COMPONENT");
        assert!(failure.message.contains("/nowhere/bench.wasm"));
    }

    #[test]
    fn scratch_is_removed() {
        let above = tempfile::tempdir().unwrap();
        let Ok(scratch) = Scratch::new(Some(above.path())) else { return };
        let path = scratch.path().to_owned();
        assert!(path.is_dir());
        drop(scratch);
        assert!(!path.exists());
    }
}
