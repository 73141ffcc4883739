//! Whether a component is still what its source says: a digest of everything that went in, kept beside the file. Never a
//! time stamp. Cargo does this for Rust.

use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use skep_core::Digest;

use super::component;
use super::error::{self, Error};

/// The most files that a guest in Python may have.
const FILES_MAX: usize = 20_000;

/// The most bytes that they may have together.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The digest of the files in a folder, by path and contents, and of `more`. Hidden files, `target`, caches and components
/// are no source.
pub(super) fn digest(dir: &Path, more: &str) -> Result<Digest, Error> {
    let mut list = format!("skep inputs 1\n{more}\n");
    let mut bytes_total = 0;
    for (count, file) in files(dir).enumerate() {
        let file = file?;
        let bytes = std::fs::read(&file).map_err(|cause| Error::io("read", &file, cause))?;
        bytes_total += bytes.len() as u64;
        if count >= FILES_MAX || bytes_total > BYTES_MAX {
            let max = format!("{FILES_MAX} files or {} MiB", BYTES_MAX >> 20);
            return Err(Error::TooLarge { dir: error::path(dir), max });
        }
        let name = file.strip_prefix(dir).unwrap_or(&file).to_string_lossy().into_owned();
        list.push_str(&format!("{} {name:?}\n", component::digest(&bytes)));
    }
    Ok(component::digest(list.as_bytes()))
}

fn files(dir: &Path) -> impl Iterator<Item = Result<PathBuf, Error>> {
    let mut walk = WalkBuilder::new(dir);
    walk.standard_filters(false).hidden(true).sort_by_file_name(Ord::cmp);
    walk.filter_entry(|entry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0
            || !(name == "target" || name == "__pycache__" || name.ends_with(".wasm") || name.ends_with(".inputs"))
    });
    let dir = dir.to_owned();
    walk.build().filter_map(move |entry| match entry {
        Ok(entry) if entry.path().is_file() => Some(Ok(entry.into_path())),
        Ok(_) => None,
        Err(cause) => Some(Err(Error::io("read the folder", &dir, std::io::Error::other(cause)))),
    })
}

/// The note beside a component that says what it was made from.
pub(super) struct Note(PathBuf);

impl Note {
    /// The note of a component file.
    pub(super) fn of(component: &Path) -> Self {
        let mut name = component.file_name().unwrap_or_default().to_owned();
        name.push(".inputs");
        Self(component.with_file_name(name))
    }

    /// Whether a component with these bytes was made from these inputs.
    pub(super) fn holds(&self, inputs: Digest, component: Digest) -> bool {
        component::read(&self.0).is_ok_and(|note| note.is_some_and(|note| note == text(inputs, component).as_bytes()))
    }

    /// Writes it.
    pub(super) fn write(&self, inputs: Digest, component: Digest) -> Result<(), Error> {
        component::write(&self.0, text(inputs, component).as_bytes()).map(drop)
    }
}

fn text(inputs: Digest, component: Digest) -> String {
    format!("inputs {inputs}\ncomponent {component}\n")
}
