//! Compiled code on disk. To load it is to run it, so nothing is loaded that this host did not write: the directory is
//! closed to others, and each file has an authentication code under a key that only its owner can read. Whatever does not
//! match is compiled again and written anew, silently.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use skep_core::Digest;
use wasmtime::component::Component;

use crate::config::Profile;
use crate::hmac::{Hmac, KEY_BYTES};

/// The most bytes of compiled code that are kept; the files that were not used for longest go first.
const CACHE_BYTES_MAX: u64 = 4 << 30;
/// Read at a time, in bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// Changes with what is authenticated.
const FORMAT: &[u8] = b"skep compiled code 1\0";

/// A directory of compiled code.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
}

impl Cache {
    /// Opens or makes the directory. Refuses one that others could write to.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let metadata = fs::metadata(dir)?;
        if metadata.uid() != user() {
            return Err(io::Error::other(format!("it belongs to user {}, not to {}", metadata.uid(), user())));
        }
        if metadata.mode() & 0o077 != 0 {
            fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        }
        Ok(Self { key: key(dir)?, dir: dir.to_owned() })
    }

    /// Compiled code of this plugin for this engine, if there is any that is whole and our own.
    pub(crate) fn load(&self, engine: &wasmtime::Engine, digest: Digest, profile: Profile) -> Option<Component> {
        let path = self.path(engine, digest, profile);
        let code = fs::read(code_path(&path)).ok()?;
        if !self.authenticate(&path).ok()?.matches(&code) {
            return None;
        }
        // Only for the order in which files go.
        let _ = File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        deserialize(engine, &path)
    }

    /// Keeps compiled code. Other processes see all of it or nothing.
    pub(crate) fn store(&self, component: &Component, digest: Digest, profile: Profile) -> io::Result<()> {
        let path = self.path(component.engine(), digest, profile);
        let compiled = component.serialize().map_err(|error| io::Error::other(error.to_string()))?;
        self.write(&path, &compiled)?;
        let mut hmac = self.begun(&path);
        hmac.update(&compiled);
        // Between the two, the old code does not match the new file, which is then compiled again: no harm.
        self.write(&code_path(&path), &hmac.code())?;
        self.shrink()
    }

    fn path(&self, engine: &wasmtime::Engine, digest: Digest, profile: Profile) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let digest: String = digest.to_string().chars().filter(|character| *character != ':').collect();
        self.dir.join(format!("{digest}-{}-{:016x}.cwasm", profile.name(), hasher.finish()))
    }

    /// The code covers the name, so that one file cannot stand for another.
    fn begun(&self, path: &Path) -> Hmac {
        let mut hmac = Hmac::new(&self.key);
        hmac.update(FORMAT);
        hmac.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hmac.update(b"\0");
        hmac
    }

    fn authenticate(&self, path: &Path) -> io::Result<Hmac> {
        let mut hmac = self.begun(path);
        let mut file = File::open(path)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = file.read(&mut chunk)?;
            if count == 0 {
                return Ok(hmac);
            }
            hmac.update(chunk.get(..count).unwrap_or_default());
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = temporary(&self.dir);
        let written = create(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // It is of no use to anyone; if it cannot be removed it counts as the oldest.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Removes what was not used for longest until the rest is within the bound.
    fn shrink(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = fs::read_dir(&self.dir)?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
                let is_ours =
                    entry.path().extension().is_some_and(|extension| extension == "cwasm" || extension == "tmp");
                is_ours.then(|| Some((metadata.modified().ok()?, metadata.len(), entry.path())))?
            })
            .collect();
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if total <= CACHE_BYTES_MAX {
                break;
            }
            fs::remove_file(&path)?;
            let _ = fs::remove_file(code_path(&path));
            total = total.saturating_sub(bytes);
        }
        Ok(())
    }
}

fn code_path(path: &Path) -> PathBuf {
    path.with_extension("mac")
}

/// The one place where compiled code is taken from outside.
#[expect(unsafe_code, reason = "wasmtime cannot check that compiled code is harmless; here it is known to be our own")]
fn deserialize(engine: &wasmtime::Engine, path: &Path) -> Option<Component> {
    // SAFETY: the file was written by `Cache::store` of a host of the same user, and is whole: its authentication code
    // matched, and the key is readable for that user alone. Files are replaced by renaming and never changed in place, and
    // the directory is closed to all others, so that what is mapped stays what was checked. wasmtime checks by itself
    // that version and settings are its own.
    unsafe { Component::deserialize_file(engine, path) }.ok()
}

/// The key of a directory, made at its first use.
fn key(dir: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = dir.join("key");
    if let Some(key) = read_key(&path) {
        return Ok(key);
    }
    let mut key = [0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let temporary = temporary(dir);
    create(&temporary, &key)?;
    // Whatever is there is of no use. If another process is quicker, its key counts.
    let _ = fs::remove_file(&path);
    let linked = fs::hard_link(&temporary, &path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read_key(&path).ok_or_else(|| io::Error::other("its key cannot be read")),
    }
}

/// None if it is not there, or could be known to others.
fn read_key(path: &Path) -> Option<[u8; KEY_BYTES]> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let is_secret = metadata.is_file() && metadata.uid() == user() && metadata.mode() & 0o077 == 0;
    if !is_secret {
        return None;
    }
    fs::read(path).ok()?.try_into().ok()
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

fn temporary(dir: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    dir.join(format!("{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
}

#[expect(unsafe_code, reason = "std does not tell the process's user")]
fn user() -> u32 {
    // SAFETY: geteuid has no arguments, cannot fail and touches no memory.
    unsafe { libc::geteuid() }
}
