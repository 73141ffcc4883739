//! Every key of a manifest: its form, its default and what it means. The parser, the JSON Schema, `skep explain` and
//! the tests of docs/manifest.md all read these tables; nothing else knows the keys.

/// One key of a table.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it takes.
    pub form: Form,
    /// What it is if it is not there; `required` if it has to be.
    pub default: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// A name of Skep.
    Name,
    /// A path, relative to the manifest.
    Path,
    /// `sha256:` and 64 digits.
    Digest,
    /// `managed` or the URL of a NATS server.
    Nats,
    /// true or false.
    Flag,
    /// A whole number, with its bounds.
    Count(u64, u64),
    /// A size, with its bounds in bytes.
    Bytes(u64, u64),
    /// A duration, with its bounds in milliseconds.
    Millis(u64, u64),
    /// A factor from 1 to 100, in steps of a hundredth.
    Factor,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `brutal`, `infinity` or a duration.
    Shutdown,
    /// A list of texts.
    Texts,
    /// A list of some of these words.
    Choices(&'static [&'static str]),
    /// A table with these keys.
    Table(&'static [Key]),
    /// A table of tables with these keys, by name.
    Named(&'static [Key]),
    /// A table of the plugin's own.
    Object,
}

const U32: u64 = u32::MAX as u64;
const I63: u64 = i64::MAX as u64;

const fn key(name: &'static str, form: Form, default: &'static str, doc: &'static str) -> Key {
    Key { name, form, default, doc }
}

/// The whole file.
pub static ROOT: &[Key] = &[
    key("hive", Form::Table(HIVE), "required", "The hive itself."),
    key("plugin", Form::Named(PLUGIN), "none", "A component file, by the name that agents use for it."),
    key("supervisor", Form::Named(SUPERVISOR), "none", "A supervisor, by its name. `root` is always there."),
    key("agent", Form::Named(AGENT), "none", "An agent, by its name. Agents start in the order of the file."),
];

/// `[hive]`.
pub(super) static HIVE: &[Key] = &[
    key("name", Form::Name, "required", "The name of the hive."),
    key("body_bytes_max", Form::Bytes(1, U32), "1MiB", "The largest body of a message and value of a state."),
    key(
        "client_window_ms",
        Form::Millis(0, I63),
        "10m",
        "How long the ids that clients give their messages are remembered.",
    ),
    key(
        "sessions_kept_max",
        Form::Count(1, U32),
        "10000",
        "The most sessions that have ended and are kept; then the first that were opened go.",
    ),
    key("host", Form::Name, "none", "The name of this host, one of many of the hive."),
    key("nats", Form::Nats, "none", "The NATS server between the hosts; without one a host is alone."),
];

/// `[plugin.NAME]`.
pub(super) static PLUGIN: &[Key] = &[
    key("path", Form::Path, "required", "The component file, relative to the manifest."),
    key("digest", Form::Digest, "none", "What the file must be: any other is refused."),
];

/// The words for `restart`.
pub(super) static RESTARTS: &[&str] = &["permanent", "transient", "temporary"];
/// The words for `strategy`.
pub(super) static STRATEGIES: &[&str] = &["one-for-one", "one-for-all", "rest-for-one", "dynamic"];
/// The words for `auto_shutdown`.
pub(super) static AUTO_SHUTDOWNS: &[&str] = &["never", "any-significant", "all-significant"];
/// The words for `durability`.
pub(super) static DURABILITIES: &[&str] = &["none", "process", "full"];
/// The words for channels.
pub(super) static CHANNELS: &[&str] = &["control", "coordination", "events", "data", "telemetry"];

const RESTART: Key = key(
    "restart",
    Form::Choice(RESTARTS),
    "permanent",
    "When it is started again: permanent always, transient unless it ended by normal or shutdown, temporary never.",
);
const SIGNIFICANT: Key = key(
    "significant",
    Form::Flag,
    "false",
    "Whether its own end may end its supervisor, as that one's auto_shutdown says.",
);

/// `[supervisor.NAME]`.
pub(super) static SUPERVISOR: &[Key] = &[
    key("parent", Form::Name, "root", "The supervisor that it is under."),
    key(
        "strategy",
        Form::Choice(STRATEGIES),
        "one-for-one",
        "Whom a restart concerns: the dead child, all children, the dead child and those after it; dynamic: one-for-one \
         for children that are added while it runs.",
    ),
    key("intensity", Form::Count(0, 1_000_000), "1", "More restarts than this within the period end the supervisor."),
    key("period", Form::Millis(1, U32), "5s", "The window in which restarts are counted."),
    key(
        "auto_shutdown",
        Form::Choice(AUTO_SHUTDOWNS),
        "never",
        "Whether it ends with the first or the last of its significant children that ends by itself.",
    ),
    RESTART,
    SIGNIFICANT,
    key("shutdown", Form::Shutdown, "infinity", "How long it may take to stop before it is killed."),
    key("back_off", Form::Table(BACK_OFF), "none", "Waiting before its children are restarted."),
];

/// `back_off` of a supervisor.
pub(super) static BACK_OFF: &[Key] = &[
    key("min", Form::Millis(1, U32), "required", "The first wait."),
    key("max", Form::Millis(1, U32), "required", "The longest wait."),
    key("factor", Form::Factor, "2.0", "What each wait is multiplied by."),
];

/// `[agent.NAME]`.
pub(super) static AGENT: &[Key] = &[
    key("plugin", Form::Name, "required", "The plugin that it runs."),
    key("supervisor", Form::Name, "root", "The supervisor that it is under."),
    key("count", Form::Count(1, 100_000), "none", "So many agents alike: NAME-1 to NAME-count."),
    key("config", Form::Object, "{}", "What the agent is told when it starts, as a JSON object."),
    key(
        "durability",
        Form::Choice(DURABILITIES),
        "none",
        "What its state and its messages survive: nothing, kill -9 of the host (process), power loss (full).",
    ),
    RESTART,
    SIGNIFICANT,
    key("shutdown", Form::Shutdown, "5s", "How long it may take to stop before it is killed."),
    key("subscribe", Form::Texts, "[]", "Patterns of topics that it is subscribed to from the start."),
    key("grants", Form::Table(GRANTS), "nothing", "What it may touch. Replies to asks are always allowed."),
    key("budget", Form::Table(BUDGET), "the defaults", "What it may use. Every part is enforced."),
];

/// `[agent.NAME.grants]`.
pub(super) static GRANTS: &[Key] = &[
    key("channels", Form::Choices(CHANNELS), "[]", "Channels that it may send on."),
    key("send_to", Form::Texts, "[]", "Agents that it may send to: names, or prefixes that end in *."),
    key("publish", Form::Texts, "[]", "Topics that it may publish on, as patterns."),
    key("subscribe", Form::Texts, "[]", "Topics that it may subscribe to, as patterns."),
    key("spawn", Form::Texts, "[]", "Plugins that it may start children of; self is its own."),
    key("children_max", Form::Count(0, U32), "0", "The most children that it may have at a time."),
];

/// `[agent.NAME.budget]`. The names are those of the `limit.reached` event.
pub(super) static BUDGET: &[Key] = &[
    key("memory_bytes_max", Form::Bytes(65_536, 1 << 32), "64MiB", "The sum of all its linear memories."),
    key("turn_cpu_ms_max", Form::Millis(1, U32), "1s", "Processor time of one turn."),
    key("turn_wall_ms_max", Form::Millis(1, U32), "30s", "Wall time of one turn, waiting included."),
    key("state_bytes_max", Form::Bytes(0, I63), "256MiB", "Keys and values of its state."),
    key("mailbox_messages_max", Form::Count(1, U32), "10000", "Messages that wait in its mailbox."),
    key("mailbox_bytes_max", Form::Bytes(1_024, I63), "64MiB", "Their weight: bodies and 128 bytes each."),
    key("out_messages_per_s_max", Form::Count(1, U32), "10000000", "Messages that it sends in a second."),
    key("out_bytes_per_s_max", Form::Bytes(1, I63), "4GiB", "Their weight."),
    key("log_lines_per_s_max", Form::Count(0, U32), "100", "Lines that it logs in a second."),
    key("timers_max", Form::Count(0, U32), "1000", "Timers that are set."),
    key("handles_max", Form::Count(0, U32), "10000", "Asks, monitors, links, subscriptions and groups together."),
    key("attempts_max", Form::Count(1, U32), "3", "Turns of one message that may fail before it is a dead letter."),
    key(
        "crash_loop_failures_max",
        Form::Count(1, U32),
        "5",
        "More distinct messages than this that fail within crash_loop_ms, with no success between, end the agent.",
    ),
    key("crash_loop_ms", Form::Millis(1, U32), "10s", "The window of a crash loop."),
    key("turns_ahead_max", Form::Count(1, 1_024), "4", "Turns that it may run ahead of their commits."),
    key("batch_messages_max", Form::Count(1, 65_536), "64", "Messages in one batch."),
    key("batch_bytes_max", Form::Bytes(1, U32), "1MiB", "Their weight."),
];

/// The key at a dotted path such as `agent.grants.send_to`; names of plugins, supervisors and agents are left out.
pub fn find_key(path: &str) -> Option<&'static Key> {
    let mut keys = ROOT;
    let mut found = None;
    for part in path.split('.') {
        let key = keys.iter().find(|key| key.name == part)?;
        keys = match key.form {
            Form::Table(inner) | Form::Named(inner) => inner,
            _ => &[],
        };
        found = Some(key);
    }
    found
}
