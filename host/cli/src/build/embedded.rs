//! What authors in Python need beside their source, carried in the binary: the WIT of agents and the helper `skep.py`. So
//! a build needs no checkout of Skep, and cannot take another version's. Rust guests have theirs from the SDK's crate.

use std::fs;
use std::path::{Path, PathBuf};

use skep_core::Digest;

use super::component;
use super::error::Error;

macro_rules! wit {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("../../../../wit/", $name)))),*] };
}

/// The package `skep:agent`, file by file.
pub(super) const WIT: &[(&str, &str)] = wit![
    "clock.wit",
    "config.wit",
    "guest.wit",
    "health.wit",
    "log.wit",
    "message.wit",
    "messaging.wit",
    "names.wit",
    "random.wit",
    "registry.wit",
    "state.wit",
    "supervision.wit",
    "telemetry.wit",
    "timers.wit",
    "turn.wit",
    "types.wit",
    "world.wit",
];

const PYTHON: &str = include_str!("../../../../guest-sdk/python/skep.py");

/// The digest of all of it.
pub(super) fn digest() -> Digest {
    let mut all = String::new();
    for (name, text) in WIT.iter().chain([&("skep.py", PYTHON)]) {
        all.push_str(&format!("{name} {}\n{text}", text.len()));
    }
    component::digest(all.as_bytes())
}

/// Files on disk, for a tool that reads files.
pub(super) struct Unpacked {
    folder: PathBuf,
}

impl Unpacked {
    /// Writes them into a folder of this process.
    pub(super) fn new(target_dir: &Path) -> Result<Self, Error> {
        let folder = component::temporary_beside(&target_dir.join("skep-python"));
        let unpacked = Self { folder };
        for (name, text) in WIT {
            component::write(&unpacked.wit().join(name), text.as_bytes())?;
        }
        component::write(&unpacked.python().join("skep.py"), PYTHON.as_bytes())?;
        Ok(unpacked)
    }

    /// The folder with the WIT package.
    pub(super) fn wit(&self) -> PathBuf {
        self.folder.join("wit")
    }

    /// The folder with the Python helper.
    pub(super) fn python(&self) -> PathBuf {
        self.folder.join("python")
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // What is left over lies in the target folder and hurts nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
