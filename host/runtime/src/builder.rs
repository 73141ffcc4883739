//! Builds a host: checks everything before anything runs, then starts the hive. Never runs a turn.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use skep_bus::LocalBus;
use skep_core::clock::Clock;
use skep_core::link::Links;
use skep_core::spec::{ChildSpec, Durability, HiveSpec, SupervisorSpec};
use skep_core::supervision::Tree;
use skep_core::wait::WaitGraph;
use skep_core::{Digest, MessageId, Name, Seq};
use skep_engine::{Engine, EngineOptions};
use skep_store::{SqliteOptions, SqliteStore, Store};
use tokio::sync::watch;

use crate::alarm::Alarms;
use crate::call::Calls;
use crate::clock::RealClock;
use crate::cluster::ClusterOptions;
use crate::commit::Committer;
use crate::context::TurnContext;
use crate::dead::Dead;
use crate::directory::Directory;
use crate::error::Error;
use crate::events::Events;
use crate::hive::{Hive, PluginEntry};
use crate::host::Host;
use crate::outside::Outside;
use crate::scheduler::Scheduler;
use crate::supervise::Supervision;

/// Agents of one supervisor that are started at a time where their restarts do not concern each other.
const START_CONCURRENCY_MAX: u32 = 64;
/// Rows are searched in pages of this many for the last one.
const ROWS_AT_ONCE_MAX: usize = 65_536;

/// Attempts at a lock that another process holds, and the time between two of them: half a second together.
const LOCK_ATTEMPTS_MAX: u32 = 25;
const LOCK_WAIT: std::time::Duration = std::time::Duration::from_millis(20);

/// How far the start of a host has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A plugin is about to be compiled, or taken from the cache.
    Compiling {
        /// Which.
        plugin: Name,
        /// Plugins before it.
        done: usize,
        /// Plugins together.
        total: usize,
    },
    /// Agents are being started.
    Starting {
        /// Agents that are ready.
        done: usize,
        /// Agents together.
        total: usize,
    },
}

type Report = Arc<dyn Fn(Progress) + Send + Sync>;

/// Builds a [`Host`]. Every setting has a default; a hive without a data directory has no durable agents.
pub struct Builder {
    spec: Option<HiveSpec>,
    data_dir: Option<PathBuf>,
    cache_dir: Option<PathBuf>,
    name: Option<Name>,
    telemetry: bool,
    drop_instances: bool,
    threads: usize,
    live_instances_max: Option<u32>,
    store: Option<Arc<dyn Store>>,
    clock: Option<Arc<dyn Clock>>,
    origins: HashMap<&'static str, String>,
    cluster: Option<ClusterOptions>,
    report: Report,
}

impl Default for Builder {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            spec: None,
            data_dir: None,
            cache_dir: None,
            name: None,
            telemetry: true,
            drop_instances: false,
            threads,
            live_instances_max: None,
            store: None,
            clock: None,
            origins: HashMap::new(),
            cluster: None,
            report: Arc::new(|_| {}),
        }
    }
}

impl Builder {
    /// What the hive is to be.
    pub fn hive(mut self, spec: HiveSpec) -> Self {
        self.spec = Some(spec);
        self
    }

    /// Where durable agents are kept. One host at a time may use it.
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(dir.into());
        self
    }

    /// Where compiled plugins are kept. None: `compiled` in the data directory, or nowhere.
    pub fn cache_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cache_dir = Some(dir.into());
        self
    }

    /// The host's name, in its events. The default is that of the hive.
    pub fn name(mut self, name: Name) -> Self {
        self.name = Some(name);
        self
    }

    /// Whether events go to tracing and are kept in memory. Who listens to them gets them in any case.
    pub fn telemetry(mut self, on: bool) -> Self {
        self.telemetry = on;
        self
    }

    /// Test mode: drops the instance of every durable agent after every turn. What an agent has only in its memory is
    /// then lost at once, instead of some day.
    pub fn drop_instances(mut self, on: bool) -> Self {
        self.drop_instances = on;
        self
    }

    /// Threads that run turns. The default is one a core.
    pub fn threads(mut self, count: usize) -> Self {
        self.threads = count.max(1);
        self
    }

    /// Instances at a time. The default is derived from the system's limit of memory mappings.
    pub fn live_instances_max(mut self, count: u32) -> Self {
        self.live_instances_max = Some(count);
        self
    }

    /// Another store than the SQLite file in the data directory: for tests, and for those who bring their own.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Another clock than the system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Who has set what [`Host::explain`] shows under this name, in words for people: a key of a file, a flag. Only the
    /// caller knows.
    pub fn origin(mut self, setting: &'static str, origin: impl Into<String>) -> Self {
        self.origins.insert(setting, origin.into());
        self
    }

    /// Makes this host one of many, which find each other at a NATS server. The default is a host that is alone.
    ///
    /// While the server is away everything on this host goes on, and what is for other hosts waits.
    pub fn cluster(mut self, options: ClusterOptions) -> Self {
        self.cluster = Some(options);
        self
    }

    /// Is told how far the start has come.
    pub fn progress(mut self, report: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.report = Arc::new(report);
        self
    }

    /// Starts the hive, and returns when everything that is declared has started.
    ///
    /// # Errors
    /// A specification that contradicts itself, a plugin that cannot be used, a data directory that cannot be used or is
    /// in use, state that cannot be read, and an agent whose first start fails. Nothing runs then.
    pub async fn start(self) -> Result<Host, Error> {
        let prepared = tokio::task::spawn_blocking(move || self.prepare()).await;
        let (hive, report) = prepared.unwrap_or(Err(Error::Stopping))?;
        let host = Host::new(hive);
        host.join().await?;
        host.bring_up(&report).await?;
        Ok(host)
    }

    /// Everything that blocks: checks, compiles, opens the store and loads what it has.
    fn prepare(mut self) -> Result<(Arc<Hive>, Report), Error> {
        let spec = self.spec.take().ok_or_else(|| Error::Spec(vec!["there is no hive".to_owned()]))?;
        let tree = self.check(&spec)?;
        let clock = self.clock.take().unwrap_or_else(|| Arc::new(RealClock::default()));
        let engine = Engine::new(EngineOptions {
            cache_dir: self.cache_dir.clone().or_else(|| self.data_dir.as_ref().map(|dir| dir.join("compiled"))),
            live_instances_max: self.live_instances_max,
            ..EngineOptions::default()
        })?;
        let store = self.open_store()?;
        let plugins = self.plugins(&engine, store.as_ref(), &spec)?;
        check_places(&engine, &plugins, &spec)?;
        let started = |error: std::io::Error| Error::Spec(vec![format!("the host's threads cannot start: {error}")]);
        let committer = match store {
            Some(store) => {
                let next_row = last_row(&store)?.0 + 1;
                Some(Committer::new(store, next_row).map_err(started)?)
            }
            None => None,
        };
        let of_cluster = self.cluster.as_ref().map(|options| options.host.clone());
        let name = self.name.or(of_cluster).unwrap_or_else(|| spec.name.clone());
        let nonce = MessageId::of_text("outside", &format!("{} {}", clock.wall_ns(), std::process::id())).0 as u64;
        let started_ms = clock.wall_ns() / 1_000_000;
        let hive = Arc::new(Hive {
            events: Events::new(name, clock.clone(), self.telemetry),
            spec,
            clock,
            engine,
            committer,
            data_dir: self.data_dir,
            directory: Directory::new(),
            cluster: OnceLock::new(),
            started_ms,
            bus: LocalBus::default(),
            links: Mutex::new(Links::new()),
            waits: Mutex::new(WaitGraph::default()),
            calls: Calls::default(),
            alarms: Alarms::default(),
            outside: Outside::new(nonce),
            dead: Dead::new(),
            ended_sessions: crate::session::EndedSessions::default(),
            supervision: Supervision::new(tree),
            plugins: RwLock::new(plugins),
            swapping: Mutex::default(),
            scheduler: Arc::new(Scheduler::new(self.threads).map_err(started)?),
            drop_instances: self.drop_instances,
            cluster_options: self.cluster,
            origins: self.origins,
            places_wanted: AtomicU32::new(0),
            stopping: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            up: watch::Sender::new(false),
            ended: watch::Sender::new(None),
        });
        hive.watch_commits();
        crate::plugins::announce(&hive);
        Ok((hive, self.report))
    }

    /// Everything that can be known to be wrong without a file being opened, all of it at once.
    fn check(&self, spec: &HiveSpec) -> Result<Tree, Error> {
        let mut wrong = Vec::new();
        let has_store = self.data_dir.is_some() || self.store.is_some();
        for (at, plugin) in spec.plugins.iter().enumerate() {
            if spec.plugins.iter().take(at).any(|before| before.name == plugin.name) {
                wrong.push(format!("plugin {} is there twice", plugin.name));
            }
        }
        check_agents(&spec.root, &mut |agent| {
            if !spec.plugins.iter().any(|plugin| plugin.name == agent.plugin) {
                wrong.push(format!("agent {}: there is no plugin {}", agent.name, agent.plugin));
            }
            if agent.durability > Durability::None && !has_store {
                let mode = agent.durability.name();
                wrong.push(format!("agent {}: durability {mode} needs a data directory", agent.name));
            }
        });
        let tree = Tree::new(&spec.root).map(|tree| tree.start_concurrency_max(START_CONCURRENCY_MAX));
        match tree {
            Ok(tree) if wrong.is_empty() => Ok(tree),
            Ok(_) => Err(Error::Spec(wrong)),
            Err(errors) => {
                wrong.extend(errors.iter().map(ToString::to_string));
                Err(Error::Spec(wrong))
            }
        }
    }

    fn open_store(&mut self) -> Result<Option<Arc<dyn Store>>, Error> {
        if let Some(store) = self.store.take() {
            return Ok(Some(store));
        }
        let Some(dir) = &self.data_dir else { return Ok(None) };
        Ok(Some(Arc::new(open_when_free(dir)?)))
    }

    fn plugins(
        &self,
        engine: &Engine<TurnContext>,
        store: Option<&Arc<dyn Store>>,
        spec: &HiveSpec,
    ) -> Result<HashMap<Name, PluginEntry>, Error> {
        let total = spec.plugins.len();
        let mut entries = HashMap::new();
        let mut errors = Vec::new();
        for (done, plugin) in spec.plugins.iter().enumerate() {
            (self.report)(Progress::Compiling { plugin: plugin.name.clone(), done, total });
            match crate::plugins::load(engine, store, self.data_dir.as_deref(), plugin) {
                Ok(entry) => drop(entries.insert(plugin.name.clone(), entry)),
                // Whatever the store says holds for all of them.
                Err(error @ Error::Store(_)) => return Err(error),
                Err(error) => errors.push((plugin.name.clone(), error)),
            }
        }
        if errors.is_empty() { Ok(entries) } else { Err(Error::Plugins(errors)) }
    }
}

/// A host that was killed a moment ago may still hold the lock: the system frees it when the process is quite gone.
#[expect(clippy::disallowed_methods, reason = "nothing tells when another process has let go of a lock")]
fn open_when_free(dir: &Path) -> Result<SqliteStore, skep_store::Error> {
    for _ in 0..LOCK_ATTEMPTS_MAX {
        match SqliteStore::open(dir, &SqliteOptions::default()) {
            Err(skep_store::Error::Locked { .. }) => std::thread::sleep(LOCK_WAIT),
            opened => return opened,
        }
    }
    SqliteStore::open(dir, &SqliteOptions::default())
}

fn check_agents(supervisor: &SupervisorSpec, check: &mut impl FnMut(&skep_core::spec::AgentSpec)) {
    for child in &supervisor.children {
        match child {
            ChildSpec::Agent(agent) => check(agent),
            ChildSpec::Supervisor(below) => check_agents(below, check),
        }
    }
}

/// An agent without durability keeps its instance for all its life. Durable ones rest, and one place is enough for all.
fn check_places(
    engine: &Engine<TurnContext>,
    plugins: &HashMap<Name, PluginEntry>,
    spec: &HiveSpec,
) -> Result<(), Error> {
    let (mut lasting, mut shared) = (Vec::new(), None);
    check_agents(&spec.root, &mut |agent| {
        // A session takes a place for a step only, and those are set aside.
        let Some(component) = plugins.get(&agent.plugin).and_then(|entry| entry.component.agent()) else { return };
        match agent.durability {
            Durability::None => lasting.push(component),
            _ => shared = Some(component),
        }
    });
    let needed = lasting.len() + usize::from(shared.is_some());
    let places = engine.fitting(lasting.into_iter().chain(shared));
    if places < needed { Err(Error::PoolFull { places, needed }) } else { Ok(()) }
}

fn last_row(store: &Arc<dyn Store>) -> Result<Seq, Error> {
    let mut last = Seq(0);
    loop {
        let page = store.messages(last, ROWS_AT_ONCE_MAX)?;
        match page.last().and_then(|stored| stored.message.row) {
            Some(row) => last = row,
            None => return Ok(last),
        }
    }
}

/// What a component is, without running it.
#[derive(Clone, Debug)]
pub struct PluginInfo {
    /// Its digest.
    pub digest: Digest,
    /// Its size, in bytes.
    pub bytes: u64,
    /// What it imports.
    pub imports: Vec<String>,
    /// Interfaces among them that are linked but denied.
    pub denied: Vec<String>,
    /// Whether compiled code came from the cache.
    pub cached: bool,
    /// Memory that an instance starts with, in bytes.
    pub memory_bytes: u64,
    /// Core instances in one instance of it.
    pub core_instances: u32,
}

/// Checks a component file without running it: reads, compiles, and holds its exports and imports to the world.
///
/// # Errors
/// As for a plugin at the start of a host.
pub fn check_plugin(path: &Path, expect: Option<Digest>, cache_dir: Option<&Path>) -> Result<PluginInfo, Error> {
    let options = EngineOptions { cache_dir: cache_dir.map(Path::to_path_buf), ..EngineOptions::default() };
    let engine = Engine::<TurnContext>::new(options)?;
    let plugin = engine.load(path, expect)?;
    let program = engine.program(&plugin)?;
    let sizes = program.sizes();
    Ok(PluginInfo {
        digest: plugin.digest,
        bytes: plugin.bytes.len() as u64,
        imports: program.imports().to_vec(),
        denied: program.denied().to_vec(),
        cached: program.cached(),
        memory_bytes: sizes.memory_bytes,
        core_instances: sizes.core_instances,
    })
}
