//! `skep build`: a folder with a guest's source becomes a component file. A `Cargo.toml` is a guest in Rust (a workspace is
//! one component per `cdylib`), an `app.py` one in Python. Underneath it runs cargo, and componentize-py; it never
//! installs anything, and never judges what a component may do: that is `skep check`.

mod child;
mod component;
mod embedded;
mod error;
mod inputs;
mod python;
mod rust;
mod toolchain;

use std::path::{Path, PathBuf};
use std::time::Duration;

use skep_core::Digest;

pub use error::Error;
pub use toolchain::Toolchain;

/// The longest that one child process may take, unless the options say otherwise: building std on one slow core took 4
/// minutes.
pub const CHILD_TIME_MAX: Duration = Duration::from_secs(30 * 60);

/// What is to be built.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// The folder with the source.
    pub dir: PathBuf,
    /// Where the component goes: a file, if the name ends with `.wasm`, else a folder. None: the target folder.
    pub out: Option<PathBuf>,
    /// The folder for what is compiled, best shared by all guests. None: `target` in the guest's folder, or in that of its
    /// workspace.
    pub target_dir: Option<PathBuf>,
    /// How Rust guests are compiled. None: as `SKEP_GUEST_TOOLCHAIN` demands, else the first way that this machine has.
    pub toolchain: Option<Toolchain>,
    /// The longest that one child process may take.
    pub child_time_max: Duration,
}

impl BuildOptions {
    /// Builds a folder with everything else as usual.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), out: None, target_dir: None, toolchain: None, child_time_max: CHILD_TIME_MAX }
    }
}

/// A component file that is up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The name of the package (Rust) or of the folder (Python).
    pub name: String,
    /// The component file.
    pub path: PathBuf,
    /// Of the file's bytes.
    pub digest: Digest,
    /// The size of the file.
    pub bytes: u64,
    /// rust or python.
    pub language: &'static str,
    /// Nothing had to be done: the same bytes were there.
    pub unchanged: bool,
}

/// What a build is doing, for whoever shows it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// The way that was chosen: with what.
    Toolchain(&'a str),
    /// A crate is compiled.
    Compiled {
        /// Its name.
        package: &'a str,
        /// It had been compiled before.
        fresh: bool,
    },
    /// The component of this name is being made.
    Encoding(&'a str),
}

/// Builds what is in the folder. Blocks, for minutes at worst: call it on a thread of its own. When it returns, every
/// file named in the answer is whole; after an error the files of before are as they were, or replaced one by one.
pub fn build(options: &BuildOptions, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Vec<Built>, Error> {
    let dir = options.dir.canonicalize().map_err(|cause| Error::io("open the folder", &options.dir, cause))?;
    // The tools run in the guest's folder, so no path may depend on where this process runs.
    let absolute = |path: &PathBuf| std::path::absolute(path).map_err(|cause| Error::io("use", path, cause));
    let target_dir = options.target_dir.as_ref().map(absolute).transpose()?;
    let options = BuildOptions { target_dir, ..options.clone() };
    if dir.join("Cargo.toml").is_file() {
        rust::build(&dir, &options, progress)
    } else if dir.join("app.py").is_file() {
        python::build(&dir, &options, progress).map(|built| vec![built])
    } else {
        Err(Error::NoGuest {
            dir: error::path(&dir),
            why: "it has neither a Cargo.toml (a guest in Rust) nor an app.py (one in Python)".to_owned(),
        })
    }
}

/// The file of one component among `count` of the same build.
fn out_file(options: &BuildOptions, target_dir: &Path, name: &str, count: usize) -> Result<PathBuf, Error> {
    let file = format!("{name}.wasm");
    match &options.out {
        None => Ok(target_dir.join(file)),
        Some(out) if out.extension().is_none_or(|ending| ending != "wasm") => Ok(out.join(file)),
        Some(out) if count == 1 => Ok(out.clone()),
        Some(out) => Err(Error::OneOutput { out: error::path(out), count }),
    }
}

#[cfg(test)]
mod tests;
