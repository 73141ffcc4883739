//! What trials share: the guest, the disk, and hives of it. Never a measurement.

use std::cell::Cell;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use skep_bus::nats::Managed;
use skep_core::spec::{AgentSpec, ChildSpec, Durability, Grants, HiveSpec, PluginSpec};
use skep_core::{Channel, Name};
use skep_engine::raw::Control;
use skep_runtime::{AskOptions, ClusterOptions, Host, NatsServer, SendOptions};
use skep_store::{SqliteOptions, SqliteStore};

use super::Options;
use super::place::{self, Scratch};
use crate::failure::{Failure, Outcome};

/// The bench's guest, as a plugin.
const PLUGIN: &str = "bench";
/// Longer than any trial.
const PATIENCE: Duration = Duration::from_secs(60);
/// The root bears every restart of a trial.
const RESTARTS_MAX: u32 = 1_000_000;

/// See the module.
pub(super) struct Lab {
    pub(super) quick: bool,
    /// Measures in this process whatever a process of its own would measure better.
    pub(super) alone: bool,
    pub(super) guest: PathBuf,
    pub(super) control: Control,
    /// It ends before its directory goes.
    server: Option<Managed>,
    scratch: Scratch,
    dirs: Cell<u32>,
    runtime: tokio::runtime::Runtime,
}

impl Lab {
    pub(super) fn open(options: &Options) -> Outcome<Self> {
        let guest = place::guest(options.component.as_deref())?;
        let scratch = Scratch::new(options.data.as_deref())?;
        // The embedding program asks from one thread; the host has its own.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            quick: options.quick,
            alone: options.alone,
            control: Control::open(&guest).map_err(|error| failed("the control", &error))?,
            guest,
            server: None,
            scratch,
            dirs: Cell::new(0),
            runtime: runtime.map_err(|error| Failure::io("the runtime of the bench", &error))?,
        })
    }

    /// A count, or a part of it for a quick look.
    pub(super) fn count(&self, full: u32, quick: u32) -> u32 {
        if self.quick { quick } else { full }
    }

    pub(super) fn wait<T>(&self, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        self.runtime.block_on(work)
    }

    /// Starts the NATS server of the trials that take one.
    pub(super) fn start_server(&mut self) -> Outcome {
        self.server = Some(Managed::start(&self.dir("nats")?)?);
        Ok(())
    }

    /// Where that server is.
    pub(super) fn server(&self) -> Outcome<&str> {
        self.server.as_ref().map(Managed::url).ok_or_else(|| failed("the server", &"it was not started"))
    }

    /// A new empty directory on the disk.
    pub(super) fn dir(&self, name: &str) -> Outcome<PathBuf> {
        let number = self.dirs.get() + 1;
        self.dirs.set(number);
        let dir = self.scratch.path().join(format!("{name}-{number}"));
        std::fs::create_dir(&dir).map_err(|error| Failure::io("a directory of the bench", &error))?;
        Ok(dir)
    }

    /// Another component of the same code: the guest with one more custom section.
    pub(super) fn second_version(&self) -> Outcome<PathBuf> {
        const SECTION: [u8; 8] = [0, 6, 5, b'b', b'e', b'n', b'c', b'h'];
        let path = self.scratch.path().join("bench-v2.wasm");
        let io = |error| Failure::io("the second version of the bench's guest", &error);
        let mut bytes = std::fs::read(&self.guest).map_err(io)?;
        bytes.extend_from_slice(&SECTION);
        std::fs::write(&path, bytes).map_err(io)?;
        Ok(path)
    }

    /// A hive without a store.
    pub(super) async fn hive(&self, agents: Vec<AgentSpec>) -> Outcome<Host> {
        let builder = Host::builder().hive(self.spec(agents)?).cache_dir(self.cache());
        Ok(builder.start().await?)
    }

    /// A hive on the disk, with its store to look into.
    pub(super) async fn hive_on_disk(&self, name: &str, agents: Vec<AgentSpec>) -> Outcome<(Host, Arc<SqliteStore>)> {
        let dir = self.dir(name)?;
        let store = SqliteStore::open(&dir, &SqliteOptions::default()).map_err(|error| failed("the store", &error))?;
        let store = Arc::new(store);
        let builder = Host::builder().hive(self.spec(agents)?).cache_dir(self.cache());
        let host = builder.data_dir(dir).store(store.clone()).start().await?;
        Ok((host, store))
    }

    /// As `hive_on_disk`, with more plugins, and without a look into its store.
    pub(super) async fn hive_with(
        &self,
        name_of: &str,
        agents: Vec<AgentSpec>,
        plugins: &[(&str, PathBuf)],
    ) -> Outcome<Host> {
        let mut spec = self.spec(agents)?;
        for (plugin, path) in plugins {
            spec.plugins.push(PluginSpec { name: name(plugin)?, path: path.clone(), digest: None });
        }
        let builder = Host::builder().hive(spec).cache_dir(self.cache());
        Ok(builder.data_dir(self.dir(name_of)?).start().await?)
    }

    /// A host on the disk that is one of many, which find each other at the server of the lab.
    pub(super) async fn host_of_many(&self, host: &str, agents: Vec<AgentSpec>) -> Outcome<Host> {
        let cluster = ClusterOptions { host: name(host)?, nats: NatsServer::Url(self.server()?.to_owned()) };
        let builder = Host::builder().hive(self.spec(agents)?).cache_dir(self.cache());
        Ok(builder.data_dir(self.dir(host)?).cluster(cluster).start().await?)
    }

    fn cache(&self) -> PathBuf {
        self.scratch.path().join("compiled")
    }

    fn spec(&self, agents: Vec<AgentSpec>) -> Outcome<HiveSpec> {
        let mut spec = HiveSpec::new(name("bench")?);
        spec.plugins.push(PluginSpec { name: name(PLUGIN)?, path: self.guest.clone(), digest: None });
        spec.root.intensity = RESTARTS_MAX;
        spec.root.children = agents.into_iter().map(|agent| ChildSpec::Agent(Box::new(agent))).collect();
        Ok(spec)
    }
}

/// An agent of the bench's guest that may send to all others.
pub(super) fn agent(text: &str, durability: Durability) -> Outcome<AgentSpec> {
    let grants = Grants { channels: Channel::ALL.to_vec(), send_to: vec!["*".to_owned()], ..Grants::default() };
    Ok(AgentSpec { durability, grants, ..AgentSpec::new(name(text)?, name(PLUGIN)?) })
}

/// So many agents, each of which sends to the next one.
pub(super) fn ring(agents: u32, durability: Durability) -> Outcome<Vec<AgentSpec>> {
    let member = |at: u32| {
        let mut spec = agent(&member_name(at), durability)?;
        spec.config_json = format!(r#"{{"next":"{}"}}"#, member_name((at + 1) % agents));
        Ok(spec)
    };
    (0..agents).map(member).collect()
}

pub(super) fn member_name(at: u32) -> String {
    format!("ring-{at}")
}

pub(super) fn name(text: &str) -> Outcome<Name> {
    Name::new(text).map_err(|error| failed("a name", &error))
}

/// Asks, and waits longer than any trial takes.
pub(super) async fn ask(host: &Host, to: &str, kind: &str, body: impl Into<Bytes>) -> Outcome<Bytes> {
    let options = AskOptions { timeout: PATIENCE, ..AskOptions::default() };
    Ok(host.ask(to, kind, body.into(), options).await?)
}

pub(super) async fn send(host: &Host, to: &str, kind: &str, body: impl Into<Bytes>) -> Outcome {
    host.send(to, kind, body.into(), SendOptions::default()).await?;
    Ok(())
}

/// A step of the bench that could not be done.
pub(super) fn failed(what: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::new("E_BENCH_FAILED", format!("{what}: {why}"))
}

/// Its size on a path, for a child process.
pub(super) fn as_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
