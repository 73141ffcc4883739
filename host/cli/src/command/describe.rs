//! Tables of what several commands show. Never a command.

use crate::api::types::{Agent, Event};
use crate::output::Table;

/// Lines of agents, as `skep ps` has them.
pub(super) fn agents(agents: &[Agent]) -> Table {
    let mut table = Table::new(&[
        "agent",
        "status",
        "plugin",
        "digest",
        "durability",
        "supervisor",
        "mailbox",
        "handled",
        "restarts",
    ]);
    for agent in agents {
        table.row([
            agent.name.clone(),
            status(agent),
            agent.plugin.clone(),
            short_digest(&agent.digest),
            agent.durability.clone(),
            agent.supervisor.clone(),
            agent.mailbox_messages.to_string(),
            agent.handled.to_string(),
            agent.restarts.to_string(),
        ]);
    }
    table
}

/// The status with its reason.
pub(super) fn status(agent: &Agent) -> String {
    match &agent.reason {
        Some(reason) => format!("{} ({reason})", agent.status),
        None => agent.status.clone(),
    }
}

/// Enough of a digest for people.
pub(super) fn short_digest(digest: &str) -> String {
    digest.strip_prefix("sha256:").unwrap_or(digest).chars().take(12).collect()
}

/// The fields of an event as `name=value`.
pub(super) fn fields(event: &Event) -> String {
    let one = |(name, value): (&String, &serde_json::Value)| match value.as_str() {
        Some(text) => format!("{name}={text}"),
        None => format!("{name}={value}"),
    };
    event.fields.iter().map(one).collect::<Vec<_>>().join(" ")
}
