//! Where the components that come with Skep are. Never how they are built.

use std::path::{Path, PathBuf};

/// Where `make guests` puts components, seen from target/release/skep; beside the binary; and below this folder.
pub(crate) fn folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(beside) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        folders.extend(beside.parent().map(|target| target.join("guests/components")));
        folders.push(beside.to_owned());
    }
    folders.push(PathBuf::from("target/guests/components"));
    folders
}
