//! Where the demo plays: its components, its manifests and its data directory, with a part for each host where there are
//! two. Never an agent.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::traffic::Worker;
use crate::api::socket::{self, shown_path};
use crate::failure::{Failure, Outcome};
use crate::file::open_regular;
use crate::process::{LOG, Launch, make_data_dir};

/// The components that are needed.
const NEEDED: [&str; 3] = ["digest.wasm", "digest-v2.wasm", "ledger.wasm"];

/// The manifest of its first host, in the data directory.
const MANIFEST: &str = "hive.toml";
/// The hosts of a hive of two, and where the manifest of each is. The first one has the ledger.
const HOSTS: [(&str, &str); 2] = [("a", MANIFEST), ("b", "hive-b.toml")];
/// What the NATS server between them keeps.
const NATS: &str = "nats";
/// How it begins, so that a run of the demo is told from a hive of the user's.
const MARK: &str = "# Written by `skep demo`.\n";

/// Everything that the demo needs on disk.
#[derive(Debug)]
pub(super) struct Stage {
    /// The data directory.
    pub(super) data: PathBuf,
    /// Whether it is the demo's own, to be removed at the end.
    own: bool,
    /// Whether two hosts play, each with a data directory in that one.
    cluster: bool,
    components: PathBuf,
}

/// A host that plays.
#[derive(Clone, Debug)]
pub(super) struct Player {
    /// Of a host among others.
    pub(super) name: Option<&'static str>,
    /// How it is started.
    pub(super) launch: Launch,
    /// Its digest agents.
    pub(super) workers: Vec<Worker>,
    /// All its agents.
    pub(super) agents: u32,
}

impl Player {
    /// The host, in words.
    pub(super) fn called(&self) -> String {
        self.name.map_or_else(|| "the host".to_owned(), |name| format!("host {name}"))
    }
}

impl Stage {
    /// Finds the components and chooses the data directory: the one that was named, or a new one that is removed at a good
    /// end. Makes nothing yet.
    pub(super) fn choose(
        folder: &Path,
        data: Option<&Path>,
        components: Option<&Path>,
        cluster: bool,
    ) -> Outcome<Self> {
        let components = found(components)?;
        let own = data.is_none();
        let chosen =
            data.map_or_else(|| std::env::temp_dir().join(format!("skep-demo-{}", std::process::id())), Path::to_owned);
        let data = std::path::absolute(&chosen).map_err(|error| Failure::io(&shown_path(&chosen), &error))?;
        check_free(&data, folder)?;
        Ok(Self { data, own, cluster, components })
    }

    /// The second version of the digest plugin.
    pub(super) fn second_version(&self) -> PathBuf {
        self.components.join("digest-v2.wasm")
    }

    /// Where the server between two hosts keeps what it has; none for one host. Makes the data directory.
    pub(super) fn server_dir(&self) -> Outcome<Option<PathBuf>> {
        if !self.cluster {
            return Ok(None);
        }
        make_data_dir(&self.data)?;
        Ok(Some(self.data.join(NATS)))
    }

    /// The data directory of the host with the ledger.
    pub(super) fn ledger(&self) -> PathBuf {
        if self.cluster { self.data.join(HOSTS[0].0) } else { self.data.clone() }
    }

    /// Makes the data directories with the manifests, and says how the hosts are started: one, or two where there is a
    /// server between them.
    pub(super) fn players(&self, agents: u32, trap_on: Option<&str>, server: Option<&str>) -> Outcome<Vec<Player>> {
        let Some(server) = server else {
            let part = Part { agents, trap_on, among: None, has_ledger: true };
            return Ok(vec![self.player(&self.data, MANIFEST, &part)?]);
        };
        let player = |(at, (host, manifest)): (usize, (&'static str, &str))| {
            // The first one has the odd agent.
            let agents = (agents + u32::from(at == 0)) / 2;
            let part = Part { agents, trap_on, among: Some((host, server)), has_ledger: at == 0 };
            self.player(&self.data.join(host), manifest, &part)
        };
        HOSTS.into_iter().enumerate().map(player).collect()
    }

    fn player(&self, data: &Path, manifest: &str, part: &Part<'_>) -> Outcome<Player> {
        make_data_dir(data)?;
        let manifest = self.data.join(manifest);
        let text = manifest_text(&self.components, part);
        std::fs::write(&manifest, text).map_err(|error| Failure::io(&shown_path(&manifest), &error))?;
        let (data, log) = (data.to_owned(), data.join(LOG));
        let agent = |number| Worker { agent: format!("{}-{number}", part.digest()), data: data.clone() };
        let workers = (1..=part.agents).map(agent).collect();
        let name = part.among.map(|(host, _)| host);
        let launch = Launch { manifest, data, log, own_session: false, options: Vec::new() };
        Ok(Player { name, launch, workers, agents: part.agents + u32::from(part.has_ledger) })
    }

    /// Whether a host was to play on it: there is something to look at.
    pub(super) fn is_used(&self) -> bool {
        self.data.join(MANIFEST).exists()
    }

    /// Waits until hosts that were killed have ended, and removes their sockets, which are elsewhere.
    pub(super) fn clear(&self) {
        let hosts = HOSTS.iter().filter(|_| self.cluster).map(|(host, _)| self.data.join(host));
        for data in hosts.chain([self.data.clone()]) {
            // The system lets go of the lock when nothing of the process is left.
            let _held = File::open(data.join("lock")).and_then(|lock| lock.lock().map(|()| lock));
            socket::clear(&data);
        }
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

/// What one host does of the work.
struct Part<'a> {
    /// Digest agents.
    agents: u32,
    /// The file that one of them traps on.
    trap_on: Option<&'a str>,
    /// The name of the host and the server between it and the other one.
    among: Option<(&'static str, &'a str)>,
    has_ledger: bool,
}

impl Part<'_> {
    /// What its digest agents are called: names are unique among all hosts of a hive.
    fn digest(&self) -> String {
        self.among.map_or_else(|| "digest".to_owned(), |(host, _)| format!("digest-{host}"))
    }
}

/// The digest agents keep what they count through kill -9; the ledger keeps it through a power loss too.
fn manifest_text(components: &Path, part: &Part<'_>) -> String {
    let file = |name: &str| json!(components.join(name).to_string_lossy()).to_string();
    let trap_on = part.trap_on.map(|name| format!("trap_on = {}\n", json!(name))).unwrap_or_default();
    let among = part.among.map(|(host, server)| format!("host = {}\nnats = {}\n", json!(host), json!(server)));
    let ledger = format!(
        "[plugin.ledger]\npath = {}\n\n[agent.ledger]\nplugin = \"ledger\"\ndurability = \"full\"\n\n",
        file("ledger.wasm")
    );
    format!(
        "{MARK}\n[hive]\nname = \"demo\"\nclient_window_ms = \"1h\"\n{}\n\
         [plugin.digest]\npath = {}\n\n{}\
         [supervisor.digests]\nintensity = 10\n\n\
         [agent.{}]\nplugin = \"digest\"\nsupervisor = \"digests\"\ncount = {}\ndurability = \"process\"\n\
         grants = {{ channels = [\"events\"], send_to = [\"ledger\"] }}\n\n\
         [agent.{}.config]\nledger = \"ledger\"\n{trap_on}",
        among.unwrap_or_default(),
        file("digest.wasm"),
        if part.has_ledger { ledger } else { String::new() },
        part.digest(),
        part.agents,
        part.digest(),
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
        let trap_on = Some("a \"quoted\" \u{1F41D}\nname");
        let among = Some(("b", "nats://127.0.0.1:4222"));
        for (among, has_ledger, children, host) in
            [(None, true, 2, None), (among, true, 2, among), (among, false, 1, among)]
        {
            let text = manifest_text(Path::new("/c"), &Part { agents: 3, trap_on, among, has_ledger });
            let manifest = crate::manifest::parse(&text, Path::new("/d/hive.toml"));
            let manifest = manifest.unwrap_or_else(|rejected| panic!("{}", rejected.rendered(false)));
            assert!(manifest.warnings.is_empty());
            assert_eq!(manifest.spec.root.children.len(), children);
            assert_eq!(manifest.cluster.host.as_ref().map(skep_core::Name::as_str), host.map(|(name, _)| name));
        }
    }

    #[test]
    fn two_hosts_share_the_agents_and_one_has_the_ledger() {
        let folder = tempfile::tempdir().unwrap();
        NEEDED.iter().for_each(|name| std::fs::write(folder.path().join(name), "x").unwrap());
        let data = folder.path().join("data");
        let stage = Stage::choose(Path::new("/"), Some(&data), Some(folder.path()), true).unwrap();
        let players = stage.players(3, None, Some("nats://127.0.0.1:1")).unwrap();
        let agents: Vec<_> = players.iter().flat_map(|player| &player.workers).map(|one| one.agent.as_str()).collect();
        assert_eq!(agents, ["digest-a-1", "digest-a-2", "digest-b-1"]);
        let text = |at: usize| std::fs::read_to_string(&players[at].launch.manifest).unwrap();
        assert!(text(0).contains("[agent.ledger]") && !text(1).contains("[agent.ledger]"));
        assert_ne!(players[0].launch.data, players[1].launch.data);
        assert!(stage.is_used());
    }

    #[test]
    fn only_a_place_where_nothing_is_will_do() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        NEEDED.iter().for_each(|name| std::fs::write(at(name), "x").unwrap());
        let choose = |data: &Path| Stage::choose(&at("indexed"), Some(data), Some(folder.path()), false);
        let help = |data: &Path| choose(data).unwrap_err().more.help.unwrap();
        std::fs::create_dir(at("indexed")).unwrap();
        std::fs::create_dir(at("empty")).unwrap();
        choose(&at("empty")).unwrap().players(1, None, None).unwrap();
        assert!(help(&at("empty")).contains("remove"), "it is the demo's own now");
        let stage = choose(&at("indexed/data")).unwrap();
        assert!(!at("indexed/data").exists(), "nothing is made before the folder is listed");
        assert!(!stage.is_used());
        assert!(!help(&at("indexed")).contains("remove") && !help(folder.path()).contains("remove"));
        std::fs::create_dir(at("hive")).unwrap();
        std::fs::write(at("hive/hive.toml"), "[hive]\nname = \"mine\"\n").unwrap();
        assert!(!help(&at("hive")).contains("remove"), "nobody is told to remove what is not the demo's");
        assert_eq!(std::fs::read_dir(at("hive")).unwrap().count(), 1);
        assert_eq!(
            Stage::choose(&at("indexed"), None, Some(&at("hive")), false).unwrap_err().code,
            "E_DEMO_COMPONENTS"
        );
    }
}
