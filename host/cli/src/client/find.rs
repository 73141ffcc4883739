//! Which host is meant: the data directory that was named, or the nearest one upward. Never starts one.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};

/// The data directory beside a manifest.
const DEFAULT_NAME: &str = ".skep";
/// Names the data directory where no option does.
const VARIABLE: &str = "SKEP_DATA";

/// The data directory for a new host: the one that was named, or `.skep` in the manifest's folder.
pub fn data_dir(named: Option<&Path>, manifest_folder: &Path) -> PathBuf {
    named.map(Path::to_owned).or_else(from_environment).unwrap_or_else(|| manifest_folder.join(DEFAULT_NAME))
}

/// What [`data_dir`] goes by, for people.
pub fn data_dir_origin(named: Option<&Path>) -> &'static str {
    match (named, from_environment()) {
        (Some(_), _) => "--data",
        (None, Some(_)) => VARIABLE,
        (None, None) => "default: .skep beside the manifest",
    }
}

/// The data directory of a running host: the one that was named, or the first `.skep` from this folder upward.
pub fn find_data_dir(named: Option<&Path>) -> Outcome<PathBuf> {
    if let Some(named) = named.map(Path::to_owned).or_else(from_environment) {
        return Ok(named);
    }
    let here = std::env::current_dir().map_err(|error| Failure::io("the current folder", &error))?;
    here.ancestors().map(|folder| folder.join(DEFAULT_NAME)).find(|path| path.is_dir()).ok_or_else(|| {
        let message = format!("there is no {DEFAULT_NAME} in this folder or above it");
        Failure::new("E_HOST_UNREACHABLE", message)
    })
}

fn from_environment() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from)
}
