//! `skep tree`: supervisors and what is under them.

use super::{Context, describe};
use crate::api::types::TreeNode;
use crate::failure::Outcome;
use crate::output::{Document, Table};

/// Show the tree of supervisors with their agents
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  skep tree")]
pub struct Args {}

pub(super) async fn run(context: &Context, _: Args) -> Outcome {
    let root: TreeNode = context.with_host(async |mut host| host.get("/v1/tree").await).await?;
    let (mut table, mut names) = (Table::new(&["name", "what", "restarts"]), Vec::new());
    walk(&root, "", "", &mut table, &mut names);
    let mut document = Document::one("Tree", &root, "", table);
    document.rename(names);
    context.output.print(&document)
}

/// `lead` is drawn before the node, `below` before its children. At most 64 deep.
fn walk(node: &TreeNode, lead: &str, below: &str, table: &mut Table, names: &mut Vec<String>) {
    match node {
        TreeNode::Agent(agent) => {
            names.push(agent.name.clone());
            table.row([format!("{lead}{}", agent.name), describe::status(agent), agent.restarts.to_string()]);
        }
        TreeNode::Supervisor { name, strategy, restarts, intensity, period_ms, children } => {
            names.push(name.clone());
            let bears = format!("{restarts} of {intensity} in {}", crate::manifest::shown_ms(u64::from(*period_ms)));
            table.row([format!("{lead}{name}"), strategy.clone(), bears]);
            let last = children.len().saturating_sub(1);
            for (place, child) in children.iter().enumerate() {
                let (branch, trunk) = if place == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
                walk(child, &format!("{below}{branch}"), &format!("{below}{trunk}"), table, names);
            }
        }
    }
}
