//! Hives for tests: a root supervisor, some agents, everything granted unless a test says otherwise.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use skep_core::spec::{AgentSpec, ChildSpec, Durability, Grants, HiveSpec, PluginSpec, Strategy, SupervisorSpec};
use skep_core::{Channel, Name};
use skep_runtime::{Builder, ClusterOptions, Host};
use tempfile::TempDir;

use crate::guests::component;
use crate::nats::NatsServer;

/// Log lines and own events that an agent may write in a second, unless a test says otherwise: the kit waits for them.
const LINES_PER_S_MAX: u32 = 1_000_000;

/// A name that a test has written.
pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// A hive that is being put together.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it is to be.
    pub spec: HiveSpec,
    /// See [`Draft::with_instances_kept`].
    keeps_instances: bool,
    /// See [`Draft::on_host`].
    cluster: Option<ClusterOptions>,
}

impl Default for Draft {
    fn default() -> Self {
        Self { spec: HiveSpec::new(name("test")), keeps_instances: false, cluster: None }
    }
}

impl Draft {
    /// An empty hive whose root bears many restarts.
    pub fn new() -> Self {
        let mut draft = Self::default();
        draft.spec.root.intensity = 1_000;
        draft
    }

    /// Adds the plugin of a fixture under its own name.
    pub fn plugin(self, fixture: &str) -> Self {
        self.plugin_at(fixture, component(fixture))
    }

    /// Adds a plugin of a file.
    pub fn plugin_at(mut self, plugin: &str, path: PathBuf) -> Self {
        if !self.spec.plugins.iter().any(|known| known.name.as_str() == plugin) {
            self.spec.plugins.push(PluginSpec { name: name(plugin), path, digest: None });
        }
        self
    }

    /// Adds an agent of a fixture under the root, with everything granted.
    pub fn agent(self, agent: &str, fixture: &str, durability: Durability) -> Self {
        self.agent_with(agent, fixture, durability, |_| {})
    }

    /// As `agent`, changed by the test.
    pub fn agent_with(
        self,
        agent: &str,
        fixture: &str,
        durability: Durability,
        change: impl FnOnce(&mut AgentSpec),
    ) -> Self {
        let mut draft = self.plugin(fixture);
        let mut spec = agent_spec(agent, fixture, durability);
        change(&mut spec);
        draft.spec.root.children.push(ChildSpec::Agent(Box::new(spec)));
        draft
    }

    /// Adds a puppet that does what `on` says.
    pub fn puppet(self, agent: &str, durability: Durability, on: Value) -> Self {
        self.puppet_with(agent, durability, on, |_| {})
    }

    /// As `puppet`, changed by the test.
    pub fn puppet_with(
        self,
        agent: &str,
        durability: Durability,
        on: Value,
        change: impl FnOnce(&mut AgentSpec),
    ) -> Self {
        self.agent_with(agent, "puppet", durability, |spec| {
            spec.config_json = json!({ "on": on }).to_string();
            change(spec);
        })
    }

    /// Adds a supervisor with the children of another draft.
    pub fn under(mut self, mut supervisor: SupervisorSpec, children: Draft) -> Self {
        for plugin in children.spec.plugins {
            self = self.plugin_at(plugin.name.as_str(), plugin.path);
        }
        supervisor.children = children.spec.root.children;
        self.spec.root.children.push(ChildSpec::Supervisor(supervisor));
        self
    }

    /// Instances stay in every mode of the suite: one that is dropped is not told to stop.
    pub fn with_instances_kept(mut self) -> Self {
        self.keeps_instances = true;
        self
    }

    /// It is one host of many, which find each other at this server.
    pub fn on_host(mut self, host: &str, nats: &NatsServer) -> Self {
        self.cluster = Some(ClusterOptions { host: name(host), nats: skep_runtime::NatsServer::Url(nats.url()) });
        self
    }

    /// A builder for it.
    pub fn builder(&self) -> Builder {
        let builder = Host::builder()
            .hive(self.spec.clone())
            .cache_dir(cache_dir())
            .telemetry(telemetry())
            .drop_instances(drops() && !self.keeps_instances);
        match &self.cluster {
            Some(options) => builder.cluster(options.clone()),
            None => builder,
        }
    }

    /// Starts it without a data directory.
    pub async fn start(&self) -> Host {
        self.builder().start().await.expect("the hive starts")
    }

    /// Starts it on a data directory.
    pub async fn start_in(&self, dir: &Path) -> Host {
        self.builder().data_dir(dir).start().await.expect("the hive starts")
    }

    /// Starts it on a data directory of its own, which goes with it.
    pub async fn run(self) -> Nest {
        let dir = tempfile::tempdir().expect("a directory");
        let host = self.start_in(dir.path()).await;
        Nest { host, dir, draft: self }
    }
}

/// A supervisor that bears many restarts.
pub fn supervisor(supervisor: &str, strategy: Strategy) -> SupervisorSpec {
    SupervisorSpec { strategy, intensity: 1_000, ..SupervisorSpec::new(name(supervisor)) }
}

/// A host and its data directory.
pub struct Nest {
    host: Host,
    dir: TempDir,
    draft: Draft,
}

impl Deref for Nest {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Nest {
    /// The data directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Stops the host in good order and starts it again on the same data.
    pub async fn again(self) -> Self {
        self.again_as(|draft| draft).await
    }

    /// Stops the host in good order; its data stays.
    pub async fn stopped(self) -> Rest {
        let Self { host, dir, draft } = self;
        host.shutdown().await;
        Rest { dir, draft }
    }

    /// As `again`, with a changed hive.
    pub async fn again_as(self, change: impl FnOnce(Draft) -> Draft) -> Self {
        let Rest { dir, draft } = self.stopped().await;
        Rest { dir, draft: change(draft) }.started().await
    }
}

/// A data directory whose host is down.
pub struct Rest {
    dir: TempDir,
    draft: Draft,
}

impl Rest {
    /// Starts the host again.
    pub async fn started(self) -> Nest {
        let Self { dir, draft } = self;
        let host = draft.start_in(dir.path()).await;
        Nest { host, dir, draft }
    }
}

/// An agent with everything granted.
pub fn agent_spec(agent: &str, fixture: &str, durability: Durability) -> AgentSpec {
    let mut spec = AgentSpec { durability, grants: everything(), ..AgentSpec::new(name(agent), name(fixture)) };
    spec.budget.log_lines_per_s_max = LINES_PER_S_MAX;
    spec
}

/// Every grant there is.
pub fn everything() -> Grants {
    Grants {
        channels: Channel::ALL.to_vec(),
        send_to: vec!["*".to_owned()],
        publish: vec![">".to_owned()],
        subscribe: vec![">".to_owned()],
        spawn: vec!["self".to_owned()],
        children_max: 1_000,
    }
}

/// Compiled fixtures are kept between runs.
pub fn cache_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/guests/compiled")
}

/// Off with `SKEP_TEST_TELEMETRY=off`: nothing in the host may depend on it. Who listens gets events all the same, so the
/// kit goes on; only the log and the events of the past are gone.
pub fn telemetry() -> bool {
    mode("SKEP_TEST_TELEMETRY").unwrap_or(true)
}

/// With `SKEP_TEST_DROP=on` every durable agent's instance is dropped after every turn.
pub fn drops() -> bool {
    mode("SKEP_TEST_DROP").unwrap_or(false)
}

/// A mode of the whole run. Another word is a mistake that would test nothing.
fn mode(variable: &str) -> Option<bool> {
    match std::env::var(variable).ok()?.as_str() {
        "on" => Some(true),
        "off" => Some(false),
        other => panic!("{variable} is on or off, not {other:?}"),
    }
}
