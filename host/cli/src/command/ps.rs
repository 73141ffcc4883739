//! `skep ps`: the agents and what they are doing. Never looks into one of them.

use super::{Context, describe};
use crate::api::text::percent_encoded;
use crate::api::types::{Agent, List};
use crate::failure::Outcome;
use crate::output::Document;

/// List the agents and what each of them is doing
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep ps
  skep ps --all                  also agents at rest, whose state is kept
  skep ps -o json | jq '.items[] | select(.status == \"failed\").name'")]
pub struct Args {
    /// Also those that are in the hive no more and whose state is kept
    #[arg(short, long)]
    all: bool,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let agents = context.with_host(async |mut host| {
        let mut agents: List<Agent> = host.get("/v1/agents").await?;
        let mut after = args.all.then(String::new);
        while let Some(last) = after.take() {
            let path = format!("/v1/resting?after={}", percent_encoded(&last));
            let mut page: List<Agent> = host.get(&path).await?;
            after = page.items.last().map(|last| last.name.clone());
            agents.items.append(&mut page.items);
        }
        Ok(agents)
    });
    let agents = agents.await?;
    let names = agents.items.iter().map(|agent| agent.name.clone()).collect();
    let table = describe::agents(&agents.items);
    context.output.print(&Document::list("AgentList", &agents.items, names, table))
}
