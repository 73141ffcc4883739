//! `[agent.NAME]`: one agent with its grants and its budget, checked by themselves. Never looks at the tree.

use skep_core::spec::{AgentSpec, Budget, Durability, Grants};
use skep_core::{Channel, Name, topic};
use toml::de::DeTable;

use super::hive::syntax_problems;
use super::keys::AGENT;
use super::problem::{Code, Problems, Rejected};
use super::section::{Noted, Section};
use super::source::Source;
use super::{config, supervisor};

/// An agent that has no place in the tree yet.
pub(super) struct AgentDraft<'a> {
    pub(super) name: Noted<Name>,
    pub(super) section: Section<'a>,
    pub(super) spec: AgentSpec,
    pub(super) plugin: Option<Noted<Name>>,
    pub(super) supervisor: Option<Noted<Name>>,
    pub(super) count: Option<u32>,
}

pub(super) fn read_all<'a>(root: &Section<'a>, problems: &mut Problems) -> Vec<AgentDraft<'a>> {
    root.named("agent", problems).into_iter().map(|(name, section)| read(name, section, problems)).collect()
}

/// One agent from the keys of its table alone, as `skep spawn --set` gives them.
pub fn agent_from_toml(name: &Name, text: &str) -> Result<AgentSpec, Box<Rejected>> {
    let mut problems = Problems::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    let walkable = syntax_problems(text, &errors, &mut problems);
    let reject = |problems: Problems| Box::new(problems.reject(Source::new(format!("agent {name}"), text)));
    if !walkable {
        return Err(reject(problems));
    }
    let section = Section::new(table.get_ref(), AGENT, format!("agent {name}"), 0..0, &mut problems);
    for key in ["count", "supervisor"].into_iter().filter(|key| section.has(key)) {
        section.contradiction(key, format!("`{key}` cannot be set for a single agent"), "leave it out", &mut problems);
    }
    let draft = read(Noted { value: name.clone(), span: 0..0 }, section, &mut problems);
    if problems.any_error() { Err(reject(problems)) } else { Ok(draft.spec) }
}

fn read<'a>(name: Noted<Name>, section: Section<'a>, problems: &mut Problems) -> AgentDraft<'a> {
    let plugin = section.name("plugin", problems);
    if !section.has("plugin") {
        section.missing("plugin", "plugin = \"NAME\": the [plugin.NAME] that it runs", problems);
    }
    let runs = plugin.as_ref().map_or_else(|| name.value.clone(), |plugin| plugin.value.clone());
    let mut spec = AgentSpec::new(name.value.clone(), runs);
    if let Some(table) = section.plain_table("config", problems) {
        spec.config_json = config::to_json(table, section.what(), problems).to_string();
    }
    section.choice("durability", Durability::parse, &mut spec.durability, problems);
    section.choice("restart", supervisor::restart, &mut spec.restart, problems);
    section.flag("significant", &mut spec.significant, problems);
    supervisor::shutdown(&section, &mut spec.shutdown, problems);
    spec.subscribe = topics(&section, "subscribe", problems);
    if let Some(table) = section.table("grants", problems) {
        spec.grants = grants(&table, problems);
    }
    if let Some(table) = section.table("budget", problems) {
        spec.budget = budget(&table, problems);
    }
    supervisor::significant(&section, spec.significant, spec.restart, problems);
    let supervisor = section.name("supervisor", problems);
    let mut count = 0;
    section.number("count", &mut count, problems);
    AgentDraft { name, section, spec, plugin, supervisor, count: (count > 0).then_some(count) }
}

fn grants(table: &Section<'_>, problems: &mut Problems) -> Grants {
    let mut grants = Grants {
        channels: table.choices("channels", Channel::parse, problems),
        send_to: names(table, "send_to", problems),
        publish: topics(table, "publish", problems),
        subscribe: topics(table, "subscribe", problems),
        spawn: names(table, "spawn", problems),
        children_max: 0,
    };
    table.number("children_max", &mut grants.children_max, problems);
    if grants.channels.is_empty() && !grants.send_to.is_empty() {
        let message = format!("{} let it send to agents and on no channel", table.what());
        let rule = "sending takes both: send_to and channels = [\"events\"] (events is the ordinary one)";
        table.contradiction("send_to", message, rule, problems);
    }
    if grants.spawn.is_empty() != (grants.children_max == 0) {
        let key = if grants.spawn.is_empty() { "children_max" } else { "spawn" };
        let message = format!("{} let it start children only half", table.what());
        let rule = "starting children takes both: spawn = [\"PLUGIN\"] and children_max of at least 1";
        table.contradiction(key, message, rule, problems);
    }
    grants
}

/// Names, and prefixes of names that end in `*`.
fn names(section: &Section<'_>, key: &str, problems: &mut Problems) -> Vec<String> {
    let wrong = |text: &str| match text {
        "*" => None,
        _ => Name::new(text.strip_suffix('*').unwrap_or(text)).err().map(|error| error.to_string()),
    };
    checked(section, key, wrong, problems)
}

/// Patterns of topics.
fn topics(section: &Section<'_>, key: &str, problems: &mut Problems) -> Vec<String> {
    checked(section, key, |text| topic::valid_pattern(text).err().map(|error| error.to_string()), problems)
}

fn checked(
    section: &Section<'_>,
    key: &str,
    wrong: impl Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> Vec<String> {
    let mut texts = Vec::new();
    for text in section.texts(key, problems) {
        match wrong(text.value) {
            None => texts.push(text.value.to_owned()),
            Some(why) => {
                let message = format!("`{key}` of {}: {why}", section.what());
                problems.error(Code::Value, text.span, message, "not accepted", None);
            }
        }
    }
    texts
}

fn budget(table: &Section<'_>, problems: &mut Problems) -> Budget {
    let mut budget = Budget::default();
    table.number("memory_bytes_max", &mut budget.memory_bytes_max, problems);
    table.number("turn_cpu_ms_max", &mut budget.turn_cpu_ms_max, problems);
    table.number("turn_wall_ms_max", &mut budget.turn_wall_ms_max, problems);
    table.number("state_bytes_max", &mut budget.state_bytes_max, problems);
    table.number("mailbox_messages_max", &mut budget.mailbox_messages_max, problems);
    table.number("mailbox_bytes_max", &mut budget.mailbox_bytes_max, problems);
    table.number("out_messages_per_s_max", &mut budget.out_messages_per_s_max, problems);
    table.number("out_bytes_per_s_max", &mut budget.out_bytes_per_s_max, problems);
    table.number("log_lines_per_s_max", &mut budget.log_lines_per_s_max, problems);
    table.number("timers_max", &mut budget.timers_max, problems);
    table.number("handles_max", &mut budget.handles_max, problems);
    table.number("attempts_max", &mut budget.attempts_max, problems);
    table.number("crash_loop_failures_max", &mut budget.crash_loop_failures_max, problems);
    table.number("crash_loop_ms", &mut budget.crash_loop_ms, problems);
    table.number("turns_ahead_max", &mut budget.turns_ahead_max, problems);
    table.number("batch_messages_max", &mut budget.batch_messages_max, problems);
    table.number("batch_bytes_max", &mut budget.batch_bytes_max, problems);
    if budget.turn_cpu_ms_max > budget.turn_wall_ms_max {
        let message = format!("turn_cpu_ms_max is more than turn_wall_ms_max in {}", table.what());
        let rule = "a turn takes at least its processor time: raise turn_wall_ms_max too, its default is 30s";
        table.contradiction("turn_cpu_ms_max", message, rule, problems);
    }
    budget
}
