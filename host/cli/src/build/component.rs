//! A core module becomes a component, and a component a file. Never half a file: it is written beside and renamed.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use skep_core::Digest;
use skep_core::name::shown;
use wit_component::{ComponentEncoder, DecodedWasm};

use super::error::Error;

/// wit-component's explanation is cut here, in characters.
const WHY_CHARS_MAX: usize = 2000;

/// The component of a core module that wit-bindgen prepared, validated.
pub(super) fn from_core(name: &str, module: &[u8]) -> Result<Vec<u8>, Error> {
    let refused = |why: &str| Error::Component { name: name.to_owned(), why: shown(why, WHY_CHARS_MAX) };
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true);
    let encoded = encoder.module(module).and_then(ComponentEncoder::encode);
    let component = encoded.map_err(|cause| refused(&format!("{cause:#}")))?;
    if exports_nothing(&component) {
        return Err(refused(
            "it exports nothing: an agent is a struct with #[skep_sdk::agent], or says its world by wit-bindgen",
        ));
    }
    Ok(component)
}

/// wit-component makes an empty component of a module that says nothing of its world.
fn exports_nothing(component: &[u8]) -> bool {
    match wit_component::decode(component) {
        Ok(DecodedWasm::Component(resolve, world)) => {
            resolve.worlds.get(world).is_none_or(|world| world.exports.is_empty())
        }
        _ => true,
    }
}

/// Puts the bytes in a file, unless it holds them already, and says whether it did. Once it returns, whoever opens the
/// file sees all of the old bytes or all of the new.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<bool, Error> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|cause| Error::io("create the folder", folder, cause))?;
    let temporary = temporary_beside(path);
    let written = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|cause| {
        // The error of the write is the one to tell.
        let _ = fs::remove_file(&temporary);
        Error::io("write", path, cause)
    })?;
    Ok(true)
}

/// The digest of bytes.
pub(super) fn digest(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest(sha2::Sha256::digest(bytes).into())
}

/// The bytes of a file; None if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::io("read", path, cause)),
    }
}

/// A name that no other build uses at the same time.
pub(super) fn temporary_beside(path: &Path) -> std::path::PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}-{count}.tmp", std::process::id()))
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
