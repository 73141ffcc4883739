//! Hives for tests: a root supervisor, some agents, everything granted unless a test says otherwise.

use std::path::PathBuf;

use skep_core::spec::{AgentSpec, ChildSpec, Durability, Grants, HiveSpec, PluginSpec};
use skep_core::{Channel, Name};
use skep_runtime::{Builder, Host};

use crate::guests::component;

/// A name that a test has written.
pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// A hive that is being put together.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it is to be.
    pub spec: HiveSpec,
}

impl Default for Draft {
    fn default() -> Self {
        Self { spec: HiveSpec::new(name("test")) }
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
    pub fn plugin(mut self, fixture: &str) -> Self {
        if !self.spec.plugins.iter().any(|plugin| plugin.name.as_str() == fixture) {
            self.spec.plugins.push(PluginSpec { name: name(fixture), path: component(fixture), digest: None });
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

    /// A builder for it.
    pub fn builder(&self) -> Builder {
        Host::builder().hive(self.spec.clone()).cache_dir(cache_dir()).telemetry(telemetry()).drop_instances(drops())
    }

    /// Starts it without a data directory.
    pub async fn start(&self) -> Host {
        self.builder().start().await.expect("the hive starts")
    }

    /// Starts it on a data directory.
    pub async fn start_in(&self, dir: &std::path::Path) -> Host {
        self.builder().data_dir(dir).start().await.expect("the hive starts")
    }
}

/// An agent with everything granted.
pub fn agent_spec(agent: &str, fixture: &str, durability: Durability) -> AgentSpec {
    AgentSpec { durability, grants: everything(), ..AgentSpec::new(name(agent), name(fixture)) }
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

/// Off with `SKEP_TEST_TELEMETRY=off`: nothing in the host may depend on it.
fn telemetry() -> bool {
    std::env::var("SKEP_TEST_TELEMETRY").as_deref() != Ok("off")
}

/// With `SKEP_TEST_DROP=on` every durable agent's instance is dropped after every turn.
fn drops() -> bool {
    std::env::var("SKEP_TEST_DROP").as_deref() == Ok("on")
}
