//! The plugins of a hive: read once, kept under their digest in the data directory, compiled, and replaced by swaps.
//! Never makes an instance.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skep_core::event::What;
use skep_core::spec::PluginSpec;
use skep_core::{AgentId, Bytes, Digest, Name};
use skep_engine::{Engine, Plugin};
use skep_store::{Space, Store, Write};

use crate::context::TurnContext;
use crate::error::Error;
use crate::hive::{Hive, PluginEntry};
use crate::record::{decode, encode};
use crate::running::Component;

/// Which version of a plugin runs.
#[derive(Serialize, Deserialize)]
struct PluginRecord {
    /// What the manifest's file was when the version was chosen.
    manifest: String,
    /// What runs.
    digest: String,
}

fn key(name: &Name) -> Bytes {
    Bytes::from(format!("plugin {name}"))
}

/// The write that keeps which version runs.
pub(crate) fn record(name: &Name, entry: &PluginEntry) -> Write {
    let record = PluginRecord { manifest: entry.manifest_digest.to_string(), digest: entry.digest.to_string() };
    Write::Put { space: Space::Hive, owner: AgentId::OUTSIDE, key: key(name), value: encode(&record, b"") }
}

/// Reads and compiles one plugin. A swap stands as long as the manifest's file is what it was.
pub(crate) fn load(
    engine: &Engine<TurnContext>,
    store: Option<&Arc<dyn Store>>,
    data_dir: Option<&Path>,
    spec: &PluginSpec,
) -> Result<PluginEntry, Error> {
    let declared = engine.load(&spec.path, spec.digest)?;
    let manifest_digest = declared.digest;
    let swapped = swapped_to(store, spec, manifest_digest)?;
    let plugin = match (swapped, data_dir) {
        (Some(digest), Some(dir)) => engine.load(&copy_path(dir, digest), Some(digest))?,
        _ => declared,
    };
    if let Some(dir) = data_dir {
        keep_copy(dir, &plugin)?;
    }
    let component = compile(engine, &plugin)?;
    Ok(PluginEntry { component, digest: plugin.digest, manifest_digest })
}

/// Makes a plugin ready to be run.
pub(crate) fn compile(engine: &Engine<TurnContext>, plugin: &Plugin) -> Result<Component, Error> {
    let program = engine.program(plugin)?;
    Component::of(program).map_err(|why| Error::Protocol { path: plugin.path.display().to_string(), why })
}

fn swapped_to(
    store: Option<&Arc<dyn Store>>,
    spec: &PluginSpec,
    manifest_digest: Digest,
) -> Result<Option<Digest>, Error> {
    let record = store.map_or(Ok(None), |store| kept(store, &spec.name))?;
    let record = record.filter(|record| Digest::parse(&record.manifest) == Some(manifest_digest));
    Ok(record.and_then(|record| Digest::parse(&record.digest)).filter(|digest| *digest != manifest_digest))
}

fn kept(store: &Arc<dyn Store>, name: &Name) -> Result<Option<PluginRecord>, skep_store::Error> {
    let value = store.get(Space::Hive, AgentId::OUTSIDE, &[key(name)])?.pop().flatten();
    let record = value.map(|value| decode::<PluginRecord>("plugin", &value)).transpose();
    let record = record.map_err(|unreadable| skep_store::Error::Corrupt {
        place: format!("plugin {name}"),
        detail: unreadable.to_string(),
    })?;
    Ok(record.map(|(record, _)| record))
}

/// The writes that forget the swaps from files that the manifest names no more: it has moved on, so that one of them does
/// not come back if the manifest goes back to its file.
pub(crate) fn forget_swaps(hive: &Hive) -> Result<Vec<Write>, Error> {
    let Some(store) = hive.store() else { return Ok(Vec::new()) };
    let mut writes = Vec::new();
    for (name, entry) in hive.plugins.read().iter() {
        let record = kept(&store, name)?;
        if record.is_some_and(|record| Digest::parse(&record.manifest) != Some(entry.manifest_digest)) {
            writes.push(Write::Delete { space: Space::Hive, owner: AgentId::OUTSIDE, key: key(name) });
        }
    }
    Ok(writes)
}

/// Where the file of a digest is kept.
pub(crate) fn copy_path(data_dir: &Path, digest: Digest) -> PathBuf {
    let hex = digest.to_string();
    data_dir.join("plugins").join(format!("{}.wasm", hex.trim_start_matches("sha256:")))
}

/// Keeps the file under its digest: what runs does not depend on the file that it came from. Once this returns the copy
/// survives power loss, so that a record may name it.
pub(crate) fn keep_copy(data_dir: &Path, plugin: &Plugin) -> Result<(), Error> {
    let path = copy_path(data_dir, plugin.digest);
    let write = || {
        let folder = data_dir.join("plugins");
        std::fs::create_dir_all(&folder)?;
        if !path.exists() {
            let partial = path.with_extension("partial");
            let mut file = File::create(&partial)?;
            file.write_all(&plugin.bytes)?;
            file.sync_all()?;
            std::fs::rename(&partial, &path)?;
        }
        // A name is not on disk before its folder is. Also that of a file that is there already: whoever has written it
        // may have been killed before it came to this.
        File::open(&folder)?.sync_all()?;
        File::open(data_dir)?.sync_all()
    };
    write().map_err(|error| {
        let (path, detail) = (path.display().to_string(), error.to_string());
        Error::Store(skep_store::Error::Directory { path, detail })
    })
}

/// Tells that a plugin is ready.
pub(crate) fn announce(hive: &Hive) {
    for (name, entry) in hive.plugins.read().iter() {
        let (plugin, digest, cached) = (name.clone(), entry.digest, entry.component.cached());
        hive.emit(&Default::default(), What::PluginLoaded { plugin, digest, cached });
    }
}
