//! The list of files, taken natively before an agent sees anything: names, sizes and figures. Never a link or a special
//! file, never what is ignored.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ignore::{DirEntry, WalkBuilder, WalkState};

use super::figures::Figures;
use crate::api::socket::shown_path;
use crate::failure::{Failure, Outcome};
use crate::output::Bar;

/// The most files of one run: each takes some 200 bytes of memory here.
const FILES_MAX: usize = 1_000_000;
/// Folders that are not looked into, whatever the ignore files say.
const SKIPPED_FOLDERS: [&str; 3] = [".git", "target", ".skep"];
/// Threads that walk and count.
const THREADS: usize = 2;

/// A file with its native figures.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// Relative to the folder, with `/`; unique.
    pub(super) name: String,
    pub(super) figures: Figures,
    /// Where it is.
    pub(super) path: PathBuf,
}

/// All files of a folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// By name.
    pub(super) files: Vec<Listed>,
    /// Links, special files, and what could not be read.
    pub(super) skipped: u64,
}

/// The whole path of a folder, if it is one.
pub(super) fn folder(path: &Path) -> Outcome<PathBuf> {
    let root = path.canonicalize().map_err(|error| Failure::io(&shown_path(path), &error))?;
    if root.is_dir() { Ok(root) } else { Err(Failure::usage(format!("{} is no folder", shown_path(path)))) }
}

/// Walks a folder and counts every file.
pub(super) fn take(root: &Path, bar: &Bar) -> Outcome<Listing> {
    let (files, skipped) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    let walk = WalkBuilder::new(root)
        .hidden(false)
        .require_git(false)
        .git_global(false)
        .threads(THREADS)
        .filter_entry(is_wanted)
        .build_parallel();
    walk.run(|| {
        Box::new(|entry| match entry.map_err(drop).and_then(|entry| listed(root, &entry)) {
            Ok(Some(file)) => {
                bar.advance(1);
                let Ok(mut files) = files.lock() else { return WalkState::Quit };
                files.push(file);
                if files.len() > FILES_MAX { WalkState::Quit } else { WalkState::Continue }
            }
            Ok(None) => WalkState::Continue,
            Err(()) => {
                skipped.fetch_add(1, Ordering::Relaxed);
                WalkState::Continue
            }
        })
    });
    let mut files = files.into_inner().unwrap_or_default();
    if files.len() > FILES_MAX {
        return Err(Failure::new("E_DEMO_FAILED", format!("there are more than {FILES_MAX} files")));
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Listing { files, skipped: skipped.into_inner() })
}

fn is_wanted(entry: &DirEntry) -> bool {
    let is_folder = entry.file_type().is_some_and(|sort| sort.is_dir());
    let is_skipped = SKIPPED_FOLDERS.iter().any(|name| entry.file_name() == *name);
    // The folder that was asked for may be called anything.
    entry.depth() == 0 || !is_folder || !is_skipped
}

/// A file with its figures; none for a folder; an error for what is skipped.
fn listed(root: &Path, entry: &DirEntry) -> Result<Option<Listed>, ()> {
    let sort = entry.file_type().ok_or(())?;
    if sort.is_dir() {
        return Ok(None);
    }
    if !sort.is_file() {
        return Err(());
    }
    let path = entry.path().to_owned();
    let figures = File::open(&path).and_then(Figures::of).map_err(drop)?;
    Ok(Some(Listed { name: name(root, &path), figures, path }))
}

/// A name that is not UTF-8 is percent-encoded, so that it stays another one than any other.
fn name(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path);
    match relative.to_str() {
        Some(text) => text.to_owned(),
        None => {
            use std::os::unix::ffi::OsStrExt;
            let bytes = relative.as_os_str().as_bytes().iter();
            bytes
                .map(
                    |byte| if byte.is_ascii_graphic() { char::from(*byte).to_string() } else { format!("%{byte:02X}") },
                )
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::output::{Color, Format, Output};

    #[test]
    fn ignored_files_and_links_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for dir in [".git", "target", "src", "src/target"] {
            fs::create_dir(at(dir)).unwrap();
        }
        for (name, text) in [
            (".gitignore", "*.log\n"),
            ("a.log", "x"),
            (".git/config", "x"),
            ("target/x", "x"),
            ("src/target/y", "x"),
            ("src/main.rs", "fn main() {}\n"),
            (".hidden", "h"),
        ] {
            fs::write(at(name), text).unwrap();
        }
        std::os::unix::fs::symlink(at("src/main.rs"), at("link")).unwrap();
        let bar = Bar::new(&Output::new(Format::Table, Color::Never, true, 0), "listing", 0);
        let listing = take(folder.path(), &bar).unwrap();
        let names: Vec<&str> = listing.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, [".gitignore", ".hidden", "src/main.rs"]);
        assert_eq!(listing.skipped, 1);
        assert_eq!(listing.files[2].figures.words, 3);
    }
}
