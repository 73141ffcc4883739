//! Where the demo plays: its components, its manifest and its data directory. Never an agent.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::api::socket::shown_path;
use crate::failure::{Failure, Outcome};
use crate::process::{Launch, make_data_dir};

/// The components that are needed.
const NEEDED: [&str; 3] = ["digest.wasm", "digest-v2.wasm", "ledger.wasm"];

/// The manifest of its hive, in the data directory.
const MANIFEST: &str = "hive.toml";

/// Everything that the demo needs on disk.
#[derive(Debug)]
pub(super) struct Stage {
    /// The data directory.
    pub(super) data: PathBuf,
    /// Whether it is the demo's own, to be removed at the end.
    own: bool,
    components: PathBuf,
}

impl Stage {
    /// Finds the components and makes the data directory: the one that was named, or a new one that is removed at a good
    /// end.
    pub(super) fn set(data: Option<&Path>, components: Option<&Path>) -> Outcome<Self> {
        let components = found(components)?;
        let own = data.is_none();
        let data = match data {
            Some(data) => data.to_owned(),
            None => std::env::temp_dir().join(format!("skep-demo-{}", std::process::id())),
        };
        if data.join(MANIFEST).exists() || (own && data.exists()) {
            let message = format!("{} holds another run of the demo", shown_path(&data));
            return Err(Failure::new("E_DEMO_FAILED", message).with_help("remove it, or name another one: --data DIR"));
        }
        make_data_dir(&data)?;
        let data = data.canonicalize().map_err(|error| Failure::io(&shown_path(&data), &error))?;
        Ok(Self { data, own, components })
    }

    /// The second version of the digest plugin.
    pub(super) fn second_version(&self) -> PathBuf {
        self.components.join("digest-v2.wasm")
    }

    /// Writes the manifest and says how its host is started.
    pub(super) fn launch(&self, agents: u32, trap_on: Option<&str>) -> Outcome<Launch> {
        let manifest = self.data.join(MANIFEST);
        let text = manifest_text(&self.components, agents, trap_on);
        std::fs::write(&manifest, text).map_err(|error| Failure::io(&shown_path(&manifest), &error))?;
        Ok(Launch { manifest, data: self.data.clone(), own_session: false, options: Vec::new() })
    }

    /// Whether a host was to play on it: there is something to look at.
    pub(super) fn is_used(&self) -> bool {
        self.data.join(MANIFEST).exists()
    }

    /// Removes what the demo made. What is left over is in the way of nobody but its reader.
    pub(super) fn strike(&self) {
        if self.own {
            let _ = std::fs::remove_dir_all(&self.data);
        }
    }
}

/// The digest agents keep what they count through kill -9; the ledger keeps it through a power loss too.
fn manifest_text(components: &Path, agents: u32, trap_on: Option<&str>) -> String {
    let file = |name: &str| json!(components.join(name).to_string_lossy()).to_string();
    let trap_on = trap_on.map(|name| format!("trap_on = {}\n", json!(name))).unwrap_or_default();
    format!(
        "[hive]\nname = \"demo\"\nclient_window_ms = \"1h\"\n\n\
         [plugin.digest]\npath = {}\n\n[plugin.ledger]\npath = {}\n\n\
         [agent.ledger]\nplugin = \"ledger\"\ndurability = \"full\"\n\n\
         [supervisor.digests]\nintensity = 10\n\n\
         [agent.digest]\nplugin = \"digest\"\nsupervisor = \"digests\"\ncount = {agents}\ndurability = \"process\"\n\
         grants = {{ channels = [\"events\"], send_to = [\"ledger\"] }}\n\n\
         [agent.digest.config]\nledger = \"ledger\"\n{trap_on}",
        file("digest.wasm"),
        file("ledger.wasm"),
    )
}

fn found(named: Option<&Path>) -> Outcome<PathBuf> {
    let places: Vec<PathBuf> = match named {
        Some(named) => vec![named.to_owned()],
        None => usual_places(),
    };
    let whole = |folder: &&PathBuf| NEEDED.iter().all(|name| folder.join(name).is_file());
    let folder = places.iter().find(whole).ok_or_else(|| {
        let places: Vec<String> = places.iter().map(|place| shown_path(place)).collect();
        Failure::new("E_DEMO_COMPONENTS", format!("{} are not in {}", NEEDED.join(", "), places.join(" or ")))
    })?;
    folder.canonicalize().map_err(|error| Failure::io(&shown_path(folder), &error))
}

/// Where `make guests` puts components, seen from target/release/skep; beside the binary; and below this folder.
fn usual_places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(beside) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        places.extend(beside.parent().map(|target| target.join("guests/components")));
        places.push(beside.to_owned());
    }
    places.push(PathBuf::from("target/guests/components"));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_of_the_demo_is_a_good_one() {
        let text = manifest_text(Path::new("/c"), 3, Some("a \"quoted\" \u{1F41D}\nname"));
        let manifest = crate::manifest::parse(&text, Path::new("/d/hive.toml"));
        let manifest = manifest.unwrap_or_else(|rejected| panic!("{}", rejected.rendered(false)));
        assert!(manifest.warnings.is_empty());
        assert_eq!(manifest.spec.root.children.len(), 2);
    }

    #[test]
    fn a_second_run_in_the_same_directory_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        NEEDED.iter().for_each(|name| std::fs::write(folder.path().join(name), "x").unwrap());
        let data = folder.path().join("data");
        let stage = Stage::set(Some(&data), Some(folder.path())).unwrap();
        stage.launch(1, None).unwrap();
        assert_eq!(Stage::set(Some(&data), Some(folder.path())).unwrap_err().code, "E_DEMO_FAILED");
        assert_eq!(Stage::set(None, Some(&data)).unwrap_err().code, "E_DEMO_COMPONENTS");
    }
}
