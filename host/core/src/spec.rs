//! What a hive is to be: plugins, supervisors and agents with their grants and budgets. Built by an embedder or from a
//! manifest; never how a manifest is written.

use std::path::PathBuf;

use crate::id::Digest;
use crate::message::Channel;
use crate::name::Name;

/// What survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Nothing: memory only.
    None,
    /// kill -9 of the host.
    Process,
    /// Power loss.
    Full,
}

impl Durability {
    /// The name that manifests use.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Process => "process",
            Self::Full => "full",
        }
    }

    /// From its name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Process, Self::Full].into_iter().find(|mode| mode.name() == text)
    }
}

/// When a child that ended is started again (OTP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Restart {
    /// Always.
    Permanent,
    /// Unless it ended by `normal` or `shutdown`.
    Transient,
    /// Never.
    Temporary,
}

/// Whom a restart concerns (OTP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// The dead child.
    OneForOne,
    /// All children.
    OneForAll,
    /// The dead child and those started after it.
    RestForOne,
    /// Children that are added while it runs, all alike; stopped all at once.
    Dynamic,
}

/// When a supervisor ends because of its significant children (OTP 24).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AutoShutdown {
    /// Never.
    Never,
    /// With the first significant child that ends by itself.
    AnySignificant,
    /// With the last.
    AllSignificant,
}

/// How long a child may take to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shutdown {
    /// It is killed at once.
    Brutal,
    /// It is killed after so many milliseconds.
    AfterMs(u32),
    /// It is waited for.
    Infinity,
}

/// Waiting before a restart: ours, not OTP's, and off by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// The first wait, in milliseconds.
    pub min_ms: u32,
    /// The longest, in milliseconds.
    pub max_ms: u32,
    /// What each wait is multiplied by, in percent (200 doubles).
    pub factor_percent: u32,
}

/// A supervisor and what is under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisorSpec {
    /// Its name, unique in the hive.
    pub name: Name,
    /// Whom a restart concerns.
    pub strategy: Strategy,
    /// More restarts than this within `period_ms` escalate. OTP's default is 1.
    pub intensity: u32,
    /// The window, in milliseconds. OTP's default is 5,000.
    pub period_ms: u32,
    /// When it ends by itself.
    pub auto_shutdown: AutoShutdown,
    /// As a child of its own supervisor.
    pub restart: Restart,
    /// As a child of its own supervisor.
    pub significant: bool,
    /// As a child of its own supervisor. OTP's default for a supervisor is infinity.
    pub shutdown: Shutdown,
    /// Waiting before restarts of its children.
    pub back_off: Option<BackOff>,
    /// In the order in which they start.
    pub children: Vec<ChildSpec>,
}

impl SupervisorSpec {
    /// With OTP's defaults and no children.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            strategy: Strategy::OneForOne,
            intensity: 1,
            period_ms: 5_000,
            auto_shutdown: AutoShutdown::Never,
            restart: Restart::Permanent,
            significant: false,
            shutdown: Shutdown::Infinity,
            back_off: None,
            children: Vec::new(),
        }
    }
}

/// A child of a supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildSpec {
    /// An agent.
    Agent(Box<AgentSpec>),
    /// Another supervisor.
    Supervisor(SupervisorSpec),
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSpec {
    /// Unique in the hive.
    pub name: Name,
    /// The plugin that it runs, by name.
    pub plugin: Name,
    /// A JSON object.
    pub config_json: String,
    /// What survives.
    pub durability: Durability,
    /// When it is started again.
    pub restart: Restart,
    /// Whether its end may end its supervisor.
    pub significant: bool,
    /// How long it may take to stop. OTP's default for a worker is 5,000 ms.
    pub shutdown: Shutdown,
    /// What it may touch.
    pub grants: Grants,
    /// What it may use.
    pub budget: Budget,
    /// Patterns of topics that it is subscribed to from the start.
    pub subscribe: Vec<String>,
}

impl AgentSpec {
    /// With the defaults: permanent, no durability, nothing granted.
    pub fn new(name: Name, plugin: Name) -> Self {
        Self {
            name,
            plugin,
            config_json: "{}".to_owned(),
            durability: Durability::None,
            restart: Restart::Permanent,
            significant: false,
            shutdown: Shutdown::AfterMs(5_000),
            grants: Grants::default(),
            budget: Budget::default(),
            subscribe: Vec::new(),
        }
    }
}

/// What an agent may touch. The default is nothing; replies to asks are always allowed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Grants {
    /// Channels that it may send on.
    pub channels: Vec<Channel>,
    /// Agents that it may send to: names, or prefixes ending in `*`.
    pub send_to: Vec<String>,
    /// Topics that it may publish on, as patterns.
    pub publish: Vec<String>,
    /// Topics that it may subscribe to, as patterns.
    pub subscribe: Vec<String>,
    /// Plugins that it may spawn children of; `self` is its own.
    pub spawn: Vec<String>,
    /// The most children that it may have at a time.
    pub children_max: u32,
}

/// What an agent may use. Every part is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Sum of all its linear memories.
    pub memory_bytes_max: u64,
    /// Processor time of one turn, in milliseconds.
    pub turn_cpu_ms_max: u32,
    /// Wall time of one turn, in milliseconds, waiting included.
    pub turn_wall_ms_max: u32,
    /// Keys and values of its state.
    pub state_bytes_max: u64,
    /// Messages waiting in its mailbox, all lanes together.
    pub mailbox_messages_max: u32,
    /// Their weight.
    pub mailbox_bytes_max: u64,
    /// Messages that it sends in a second.
    pub out_messages_per_s_max: u32,
    /// Their weight.
    pub out_bytes_per_s_max: u64,
    /// Lines that it logs in a second.
    pub log_lines_per_s_max: u32,
    /// Timers that are set.
    pub timers_max: u32,
    /// Asks, monitors, links, subscriptions and groups together.
    pub handles_max: u32,
    /// Turns of one message that may fail before it is a dead letter.
    pub attempts_max: u32,
    /// Distinct messages that may fail in `crash_loop_ms` with no success between.
    pub crash_loop_failures_max: u32,
    /// The window of a crash loop, in milliseconds.
    pub crash_loop_ms: u32,
    /// Uncommitted turns that it may run ahead.
    pub turns_ahead_max: u32,
    /// Messages in one batch.
    pub batch_messages_max: u32,
    /// Their weight.
    pub batch_bytes_max: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 << 20,
            turn_cpu_ms_max: 1_000,
            turn_wall_ms_max: 30_000,
            state_bytes_max: 256 << 20,
            mailbox_messages_max: 10_000,
            mailbox_bytes_max: 64 << 20,
            out_messages_per_s_max: 10_000_000,
            out_bytes_per_s_max: 4 << 30,
            log_lines_per_s_max: 100,
            timers_max: 1_000,
            handles_max: 10_000,
            attempts_max: 3,
            crash_loop_failures_max: 5,
            crash_loop_ms: 10_000,
            turns_ahead_max: 4,
            batch_messages_max: 64,
            batch_bytes_max: 1 << 20,
        }
    }
}

/// A component file that agents run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSpec {
    /// Unique in the hive.
    pub name: Name,
    /// Where its file is.
    pub path: PathBuf,
    /// What the file must be.
    pub digest: Option<Digest>,
}

/// A whole hive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HiveSpec {
    /// Its name.
    pub name: Name,
    /// The component files.
    pub plugins: Vec<PluginSpec>,
    /// The root of the tree of supervisors. Its own restarts are nobody's: if it escalates, the hive is down.
    pub root: SupervisorSpec,
    /// The largest body of a message and the largest value of a state, in bytes.
    pub body_bytes_max: u32,
    /// How long a client's message ids are remembered, in milliseconds.
    pub client_window_ms: u64,
    /// The most sessions that have ended and whose records and logs are kept on disk; then the first that were opened go.
    pub sessions_kept_max: u32,
}

impl HiveSpec {
    /// An empty hive with the defaults.
    pub fn new(name: Name) -> Self {
        let root = Name::new("root").map(SupervisorSpec::new).unwrap_or_else(|_| SupervisorSpec::new(name.clone()));
        Self {
            name,
            plugins: Vec::new(),
            root,
            body_bytes_max: 1 << 20,
            client_window_ms: 600_000,
            sessions_kept_max: 10_000,
        }
    }
}
