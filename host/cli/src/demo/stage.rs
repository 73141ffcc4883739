//! Where the demo plays: its components, its manifest and its data directory. Never an agent.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::api::socket::{self, shown_path};
use crate::failure::{Failure, Outcome};
use crate::file::open_regular;
use crate::process::{LOG, Launch, make_data_dir};

/// The components that are needed.
const NEEDED: [&str; 3] = ["digest.wasm", "digest-v2.wasm", "ledger.wasm"];

/// The manifest of its hive, in the data directory.
const MANIFEST: &str = "hive.toml";
/// How it begins, so that a run of the demo is told from a hive of the user's.
const MARK: &str = "# Written by `skep demo`.\n";

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
    /// Finds the components and chooses the data directory: the one that was named, or a new one that is removed at a good
    /// end. Makes nothing yet.
    pub(super) fn choose(folder: &Path, data: Option<&Path>, components: Option<&Path>) -> Outcome<Self> {
        let components = found(components)?;
        let own = data.is_none();
        let chosen =
            data.map_or_else(|| std::env::temp_dir().join(format!("skep-demo-{}", std::process::id())), Path::to_owned);
        let data = std::path::absolute(&chosen).map_err(|error| Failure::io(&shown_path(&chosen), &error))?;
        check_free(&data, folder)?;
        Ok(Self { data, own, components })
    }

    /// The second version of the digest plugin.
    pub(super) fn second_version(&self) -> PathBuf {
        self.components.join("digest-v2.wasm")
    }

    /// Makes the data directory with the manifest in it, and says how its host is started.
    pub(super) fn launch(&self, agents: u32, trap_on: Option<&str>) -> Outcome<Launch> {
        make_data_dir(&self.data)?;
        let manifest = self.data.join(MANIFEST);
        let text = manifest_text(&self.components, agents, trap_on);
        std::fs::write(&manifest, text).map_err(|error| Failure::io(&shown_path(&manifest), &error))?;
        let (data, log) = (self.data.clone(), self.data.join(LOG));
        Ok(Launch { manifest, data, log, own_session: false, options: Vec::new() })
    }

    /// Whether a host was to play on it: there is something to look at.
    pub(super) fn is_used(&self) -> bool {
        self.data.join(MANIFEST).exists()
    }

    /// Waits until a host that was killed has ended, and removes its socket, which is elsewhere.
    pub(super) fn clear(&self) {
        // The system lets go of the lock when nothing of the process is left.
        let _held = File::open(self.data.join("lock")).and_then(|lock| lock.lock().map(|()| lock));
        socket::clear(&self.data);
    }

    /// Removes what the demo made. What is left over is in the way of nobody but its reader.
    pub(super) fn strike(&self) {
        if self.own {
            let _ = std::fs::remove_dir_all(&self.data);
        }
    }
}

/// The demo writes only where nothing is: neither in a hive of the user's, nor in what it indexes.
fn check_free(data: &Path, folder: &Path) -> Outcome {
    let refused = |what: &str, help: &str| {
        Err(Failure::new("E_DEMO_FAILED", format!("{} {what}", shown_path(data))).with_help(help))
    };
    let Ok(whole) = data.canonicalize() else { return Ok(()) };
    if folder.starts_with(&whole) {
        return refused("holds the folder that is to be indexed", "name a new directory: --data DIR");
    }
    if std::fs::read_dir(&whole).is_ok_and(|mut entries| entries.next().is_none()) {
        return Ok(());
    }
    if is_marked(&whole.join(MANIFEST)) {
        return refused("holds another run of the demo", "remove it, or name a new directory: --data DIR");
    }
    refused("is not empty, and what is in it is no run of the demo", "name a new directory: --data DIR")
}

fn is_marked(manifest: &Path) -> bool {
    let begin = open_regular(manifest, File::options().read(true)).and_then(|file| {
        let mut begin = Vec::new();
        file.take(MARK.len() as u64).read_to_end(&mut begin)?;
        Ok(begin)
    });
    begin.is_ok_and(|begin| begin == MARK.as_bytes())
}

/// The digest agents keep what they count through kill -9; the ledger keeps it through a power loss too.
fn manifest_text(components: &Path, agents: u32, trap_on: Option<&str>) -> String {
    let file = |name: &str| json!(components.join(name).to_string_lossy()).to_string();
    let trap_on = trap_on.map(|name| format!("trap_on = {}\n", json!(name))).unwrap_or_default();
    format!(
        "{MARK}\n[hive]\nname = \"demo\"\nclient_window_ms = \"1h\"\n\n\
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
        None => crate::guests::folders(),
    };
    let whole = |folder: &&PathBuf| NEEDED.iter().all(|name| folder.join(name).is_file());
    let folder = places.iter().find(whole).ok_or_else(|| {
        let places: Vec<String> = places.iter().map(|place| shown_path(place)).collect();
        Failure::new("E_DEMO_COMPONENTS", format!("{} are not in {}", NEEDED.join(", "), places.join(" or ")))
    })?;
    folder.canonicalize().map_err(|error| Failure::io(&shown_path(folder), &error))
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
    fn only_a_place_where_nothing_is_will_do() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        NEEDED.iter().for_each(|name| std::fs::write(at(name), "x").unwrap());
        let choose = |data: &Path| Stage::choose(&at("indexed"), Some(data), Some(folder.path()));
        let help = |data: &Path| choose(data).unwrap_err().more.help.unwrap();
        std::fs::create_dir(at("indexed")).unwrap();
        std::fs::create_dir(at("empty")).unwrap();
        choose(&at("empty")).unwrap().launch(1, None).unwrap();
        assert!(help(&at("empty")).contains("remove"), "it is the demo's own now");
        let stage = choose(&at("indexed/data")).unwrap();
        assert!(!at("indexed/data").exists(), "nothing is made before the folder is listed");
        assert!(!stage.is_used());
        assert!(!help(&at("indexed")).contains("remove") && !help(folder.path()).contains("remove"));
        std::fs::create_dir(at("hive")).unwrap();
        std::fs::write(at("hive/hive.toml"), "[hive]\nname = \"mine\"\n").unwrap();
        assert!(!help(&at("hive")).contains("remove"), "nobody is told to remove what is not the demo's");
        assert_eq!(std::fs::read_dir(at("hive")).unwrap().count(), 1);
        assert_eq!(Stage::choose(&at("indexed"), None, Some(&at("hive"))).unwrap_err().code, "E_DEMO_COMPONENTS");
    }
}
