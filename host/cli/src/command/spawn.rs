//! `skep spawn`: starts one more agent in a running hive. Never writes into the manifest.

use std::time::Duration;

use serde_json::Value;

use super::{Context, input};
use crate::api::types::{Done, SpawnRequest};
use crate::failure::{Failure, Outcome};
use crate::output::{Document, Table};

/// A start may compile a plugin.
const USUAL: Duration = Duration::from_secs(120);

/// Start one more agent; returns when it is ready
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep spawn worker-9 worker
  skep spawn audit ledger --supervisor books --set durability=full --config '{\"year\": 2026}'
  skep spawn relay relay --set 'grants.send_to=[\"ledger\"]' --set 'grants.channels=[\"events\"]'")]
pub struct Args {
    /// Its name
    name: String,
    /// The plugin that it runs
    plugin: String,
    /// The supervisor that it is under [default: root]
    #[arg(long)]
    supervisor: Option<String>,
    /// What it is told: a JSON object, @FILE, or - for stdin
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// A key of [agent.NAME] as the manifest has it; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let request = SpawnRequest {
        toml: toml(&args)?,
        config: args.config.map(|text| config(context, text)).transpose()?,
        name: args.name,
        supervisor: args.supervisor,
    };
    let work = async { context.connect().await?.post("/v1/agents", &request).await };
    let done: Done = context.within(USUAL, work).await?;
    let table = Table::of_pairs([("spawned", done.name.clone())]);
    context.output.print(&Document::one("Done", &done, done.name.clone(), table))
}

/// The settings as lines of TOML; a value that is none is a text.
fn toml(args: &Args) -> Outcome<String> {
    let mut text = format!("plugin = {}\n", quoted(&args.plugin));
    for setting in &args.settings {
        let Some((key, value)) = setting.split_once('=').filter(|(key, _)| !key.trim().is_empty()) else {
            let shown = skep_core::name::shown(setting, 64);
            return Err(Failure::usage(format!("--set {shown} is not KEY=VALUE")));
        };
        let line = format!("{key} = {value}\n");
        let is_toml = !value.contains('\n') && toml::de::DeTable::parse(&line).is_ok();
        text.push_str(&if is_toml { line } else { format!("{key} = {}\n", quoted(value)) });
    }
    Ok(text)
}

/// A JSON text is a TOML text but for one escape, which no name has.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn config(context: &Context, text: String) -> Outcome<Value> {
    let bytes = input::body(context, text)?;
    serde_json::from_slice(&bytes).map_err(|error| Failure::usage(format!("--config is no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(settings: &[&str]) -> String {
        toml(&Args {
            name: "x".into(),
            plugin: "p".into(),
            supervisor: None,
            config: None,
            settings: settings.iter().map(|text| (*text).to_owned()).collect(),
        })
        .unwrap()
    }

    #[test]
    fn settings_are_toml_or_plain_words() {
        let text = lines(&["durability=full", "grants.children_max=3", "shutdown=\"5s\""]);
        assert_eq!(text, "plugin = \"p\"\ndurability = \"full\"\ngrants.children_max = 3\nshutdown = \"5s\"\n");
    }

    #[test]
    fn a_value_cannot_bring_a_line_of_its_own() {
        assert_eq!(lines(&["restart=temporary\nplugin = 1"]).lines().count(), 2);
    }
}
