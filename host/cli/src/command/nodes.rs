//! `skep nodes`: the hosts of the hive as one of them sees them. Never asks another host.

use super::Context;
use crate::api::types::{List, Node, Outbox};
use crate::failure::Outcome;
use crate::manifest::shown_ms;
use crate::output::{Document, Table};

/// List the hosts of the hive and what waits for each of them
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep nodes
  skep nodes -o json | jq '.items[] | select(.state == \"gone\").outbox'")]
pub struct Args {}

pub(super) async fn run(context: &Context, _: Args) -> Outcome {
    let nodes: List<Node> = context.with_host(async |mut host| host.get("/v1/nodes").await).await?;
    if nodes.items.is_empty() {
        context.output.note("this host is alone: nats is not set");
    }
    let names = nodes.items.iter().map(|node| node.host.clone()).collect();
    context.output.print(&Document::list("NodeList", &nodes.items, names, table(&nodes.items)))
}

fn table(nodes: &[Node]) -> Table {
    let mut table = Table::new(&["host", "state", "since", "agents", "outbox", "oldest", "received"]);
    for node in nodes {
        table.row([
            node.host.clone(),
            state(node),
            node.since.clone(),
            node.agents.to_string(),
            outbox(node),
            node.outbox.oldest_ms.map_or_else(|| "-".to_owned(), shown_age),
            node.received.to_string(),
        ]);
    }
    table
}

/// The state, and of this host whether it is cut off from the others.
fn state(node: &Node) -> String {
    let cut_off = node.state == "here" && !node.connected;
    if cut_off { "here (nats is away)".to_owned() } else { node.state.clone() }
}

/// What waits, of the most that may; nothing where nothing was ever sent.
fn outbox(node: &Node) -> String {
    let Outbox { messages, messages_max, .. } = node.outbox;
    if messages_max == 0 { "-".to_owned() } else { format!("{messages}/{messages_max}") }
}

/// Whole seconds, from the first one on.
fn shown_age(ms: u64) -> String {
    shown_ms(if ms < 1_000 { ms } else { ms / 1_000 * 1_000 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_cut_off_says_so_and_ages_are_short() {
        let mut node = Node {
            host: "a".to_owned(),
            state: "here".to_owned(),
            since: String::new(),
            connected: false,
            agents: 1,
            outbox: Outbox { messages: 0, bytes: 0, messages_max: 10, oldest_ms: None },
            received: 0,
        };
        assert_eq!((state(&node), outbox(&node)), ("here (nats is away)".to_owned(), "0/10".to_owned()));
        node.connected = true;
        assert_eq!(state(&node), "here");
        node = Node { state: "gone".to_owned(), connected: false, ..node };
        assert_eq!(state(&node), "gone");
        assert_eq!([999, 1_999, 61_000, 3_600_001].map(shown_age), ["999ms", "1s", "61s", "1h"]);
    }
}
