//! `skep inspect`: all that is known of one agent. Never changes it.

use super::{Context, complete, describe};
use crate::api::text::percent_encoded;
use crate::api::types::AgentDetail;
use crate::failure::Outcome;
use crate::manifest::shown_bytes;
use crate::output::{Document, Table};

/// Show all that is known of one agent
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep inspect ledger
  skep inspect ledger -o json | jq .config")]
pub struct Args {
    /// The agent
    #[arg(add = complete::agents())]
    agent: String,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let path = format!("/v1/agents/{}", percent_encoded(&args.agent));
    let detail: AgentDetail = context.with_host(async |mut host| host.get(&path).await).await?;
    context.output.print(&Document::one("AgentDetail", &detail, args.agent, table(&detail)))
}

fn table(detail: &AgentDetail) -> Table {
    let agent = &detail.agent;
    let waiting: Vec<String> = detail
        .lanes
        .iter()
        .filter(|lane| lane.messages > 0)
        .map(|lane| format!("{} {}", lane.messages, lane.channel))
        .collect();
    Table::of_pairs([
        ("agent", agent.name.clone()),
        ("status", describe::status(agent)),
        ("plugin", agent.plugin.clone()),
        ("digest", agent.digest.clone()),
        ("sdk", detail.sdk.clone()),
        ("supervisor", agent.supervisor.clone()),
        ("restart", detail.restart.clone()),
        ("durability", agent.durability.clone()),
        ("incarnation", agent.incarnation.to_string()),
        ("config", detail.config.to_string()),
        ("handled", agent.handled.to_string()),
        ("refused", detail.refused.to_string()),
        ("turns failed", detail.turns_failed.to_string()),
        ("restarts", agent.restarts.to_string()),
        ("last failure", detail.last_failure.clone().unwrap_or_else(|| "none".to_owned())),
        ("waiting", listed(&waiting, "nothing")),
        ("memory", detail.memory_bytes.map_or_else(|| "no instance".to_owned(), shown_bytes)),
        ("state", shown_bytes(detail.state_bytes)),
        ("asks open", detail.asks_open.to_string()),
        ("replies owed", detail.replies_owed.to_string()),
        ("timers", listed(&detail.timers, "none")),
        ("subscriptions", listed(&detail.subscriptions, "none")),
    ])
}

fn listed(items: &[String], if_empty: &str) -> String {
    if items.is_empty() { if_empty.to_owned() } else { items.join(", ") }
}
