//! `skep tree`: supervisors and what is under them. Never changes it.

use super::{Context, describe};
use crate::api::types::TreeNode;
use crate::failure::Outcome;
use crate::manifest::shown_ms;
use crate::output::{Document, Table};

/// Show the tree of supervisors with their agents
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  skep tree")]
pub struct Args {}

pub(super) async fn run(context: &Context, _: Args) -> Outcome {
    let root: TreeNode = context.with_host(async |mut host| host.get("/v1/tree").await).await?;
    let table = Table::new(&["name", "what", "restarts", "supervisor"]);
    let mut walk = Walk { drawn: context.output.terminal, table, names: Vec::new() };
    walk.node(&root, "", "", "");
    let Walk { table, names, .. } = walk;
    let mut document = Document::one("Tree", &root, "", table);
    document.rename(names);
    context.output.print(&document)
}

/// Fills the table from the root downward.
struct Walk {
    /// Branches are drawn for people only.
    drawn: bool,
    table: Table,
    names: Vec<String>,
}

impl Walk {
    /// `lead` is drawn before the node, `below` before its children. At most 64 deep.
    fn node(&mut self, node: &TreeNode, parent: &str, lead: &str, below: &str) {
        match node {
            TreeNode::Agent(agent) => {
                self.row(&agent.name, lead, describe::status(agent), agent.restarts.to_string(), parent);
            }
            TreeNode::Supervisor { name, strategy, restarts, intensity, period_ms, children } => {
                let bears = format!("{restarts} of {intensity} in {}", shown_ms(u64::from(*period_ms)));
                self.row(name, lead, strategy.clone(), bears, parent);
                let last = children.len().saturating_sub(1);
                for (place, child) in children.iter().enumerate() {
                    let (branch, trunk) = if place == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
                    self.node(child, name, &format!("{below}{branch}"), &format!("{below}{trunk}"));
                }
            }
        }
    }

    fn row(&mut self, name: &str, lead: &str, what: String, restarts: String, parent: &str) {
        let shown = if self.drawn { format!("{lead}{name}") } else { name.to_owned() };
        self.table.row([shown, what, restarts, parent.to_owned()]);
        self.names.push(name.to_owned());
    }
}
