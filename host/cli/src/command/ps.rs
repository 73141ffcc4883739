//! `skep ps`: the agents and what they are doing. Never looks into one of them.

use super::{Context, describe};
use crate::api::types::{Agent, List};
use crate::failure::Outcome;
use crate::output::Document;

/// List the agents and what each of them is doing
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep ps
  skep ps -o json | jq '.items[] | select(.status == \"failed\").name'")]
pub struct Args {}

pub(super) async fn run(context: &Context, _: Args) -> Outcome {
    let agents: List<Agent> = context.with_host(async |mut host| host.get("/v1/agents").await).await?;
    let names = agents.items.iter().map(|agent| agent.name.clone()).collect();
    let table = describe::agents(&agents.items);
    context.output.print(&Document::list("AgentList", &agents.items, names, table))
}
