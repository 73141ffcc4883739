//! `skep logs`: what agents write into their logs. Never the log of the host.

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
    // Lines of the past are marked; of one that was printed already only the end of its turn can tell.
    let names = if args.follow { "log,turn.failed,turn.undone" } else { "log" };
    let path = events::path(args.follow, args.agent.as_deref(), Some(names), args.last);
    events::print(context, &path, args.follow, row).await
}

fn row(event: &Event) -> Option<Vec<String>> {
    let lines = || event.fields.get("lines").and_then(serde_json::Value::as_u64).filter(|lines| *lines > 0);
    let text = match event.event.as_str() {
        "log" => line(event),
        "log.suppressed" => format!("{} lines left out: over log_lines_per_s_max", lines()?),
        "turn.failed" => format!("(the turn of the last {} lines has failed)", lines()?),
        "turn.undone" => format!("(the turn of the last {} lines was undone)", lines()?),
        _ => return None,
    };
    let agent = event.agent.clone().unwrap_or_else(|| "-".to_owned());
    Some(vec![event.time.clone(), event.severity.clone(), agent, text])
}

fn line(event: &Event) -> String {
    let field = |name: &str| event.fields.get(name).and_then(|value| value.as_str());
    let mut text = field("text").unwrap_or_default().to_owned();
    if let Some(fields) = field("fields") {
        text.push_str(&format!("  {fields}"));
    }
    if event.fields.contains_key("undone") {
        text.push_str("  (its turn was undone)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, fields: serde_json::Value) -> Option<String> {
        let mut event = serde_json::json!({
            "id": 1, "time": "", "severity": "info", "host": "h", "agent": "a", "incarnation": 1, "turn": 1,
            "cause": null, "correlation": null, "durationNs": null,
        });
        event["event"] = name.into();
        event["fields"] = fields;
        row(&serde_json::from_value(event).unwrap())?.pop()
    }

    #[test]
    fn lines_of_a_turn_that_came_to_nothing_are_told_and_other_turns_are_not() {
        let undone = serde_json::json!({ "text": "x", "undone": true });
        assert_eq!(shown("log", undone).unwrap(), "x  (its turn was undone)");
        let ended = |lines: u64| serde_json::json!({ "batch": 1, "lines": lines });
        assert_eq!(shown("turn.failed", ended(2)).unwrap(), "(the turn of the last 2 lines has failed)");
        assert_eq!(shown("turn.undone", ended(1)).unwrap(), "(the turn of the last 1 lines was undone)");
        assert_eq!(shown("turn.failed", ended(0)), None);
    }
}
