//! `skep logs`: what agents write into their logs.

use super::{Context, complete, events};
use crate::api::types::Event;
use crate::failure::Outcome;

/// Print what agents log, and with -f what they go on to log
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep logs
  skep logs -f ledger")]
pub struct Args {
    /// Only this agent; with -f one that is still to come, too
    #[arg(add = complete::agents())]
    agent: Option<String>,
    /// Go on until interrupted or the host ends
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines of the past [default: all that the host keeps]
    #[arg(long, value_name = "COUNT")]
    last: Option<usize>,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let path = events::path(args.follow, args.agent.as_deref(), Some("log"), args.last);
    events::print(context, &path, args.follow, row).await
}

fn row(event: &Event) -> Vec<String> {
    let field = |name: &str| event.fields.get(name).and_then(|value| value.as_str());
    let mut text = field("text").unwrap_or_default().to_owned();
    if let Some(fields) = field("fields") {
        text.push_str(&format!("  {fields}"));
    }
    if let Some(lines) = event.fields.get("lines") {
        text = format!("{lines} lines left out: over log_lines_per_s_max");
    }
    if event.fields.contains_key("undone") {
        text.push_str("  (its turn was undone)");
    }
    let agent = event.agent.clone().unwrap_or_else(|| "-".to_owned());
    vec![event.time.clone(), event.severity.clone(), agent, text]
}
