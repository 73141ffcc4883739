//! `skep explain`: an error, a key of the manifest, or a derived setting and where it came from. Never changes any of
//! them.

use serde::Serialize;

use super::{Context, complete};
use crate::api::types::{List, Setting};
use crate::failure::{Failure, Outcome};
use crate::manifest::{Form, Key, ROOT, find_key};
use crate::output::{Document, Format, Table};
use crate::pages;

/// Explain an error, a key of the manifest, or a derived setting
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep explain E_MAILBOX_FULL          an error; needs no host
  skep explain agent.budget            keys of the manifest; needs no host
  skep explain state_bytes_max         a limit that an event names; needs no host
  skep explain pool                    settings of the host that have to do with it")]
pub struct Args {
    /// A code, a key or a word about a setting [default: all settings]
    #[arg(add = complete::codes())]
    topic: Option<String>,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let topic = args.topic.unwrap_or_default();
    if topic.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("E_")) {
        return page(context, &topic.to_ascii_uppercase());
    }
    let found = find_keys(&topic);
    if !found.is_empty() {
        return keys(context, &found);
    }
    settings(context, &topic).await
}

#[derive(Serialize)]
struct Page<'a> {
    code: &'a str,
    exit: u8,
    title: &'a str,
    help: &'a str,
    page: &'a str,
}

fn page(context: &Context, code: &str) -> Outcome {
    let Some(page) = pages::page(code) else {
        let mut failure = Failure::new("E_NO_TOPIC", format!("there is no code {}", skep_core::name::shown(code, 64)));
        if let Some(similar) = skep_core::similar::closest(code, pages::codes()) {
            failure = failure.with_help(format!("did you mean {similar}?"));
        }
        return Err(failure);
    };
    if context.output.format == Format::Table {
        return context.output.write(page.as_bytes());
    }
    let shape = Page {
        code,
        exit: pages::exit(code) as u8,
        title: pages::title(code).unwrap_or_default(),
        help: pages::help(code).unwrap_or_default(),
        page,
    };
    context.output.print(&Document::one("ErrorPage", &shape, code, Table::default()))
}

#[derive(Serialize)]
struct ManifestKey {
    key: String,
    default: &'static str,
    doc: &'static str,
}

fn keys(context: &Context, found: &[ManifestKey]) -> Outcome {
    let mut table = Table::new(&["key", "default", "meaning"]);
    for one in found {
        table.row([one.key.clone(), one.default.to_owned(), one.doc.to_owned()]);
    }
    let names = found.iter().map(|one| one.key.clone()).collect();
    context.output.print(&Document::list("ManifestKeyList", found, names, table))
}

fn collect(path: &str, key: &'static Key, into: &mut Vec<ManifestKey>) {
    into.push(ManifestKey { key: path.to_owned(), default: key.default, doc: key.doc });
    if let Form::Table(inner) | Form::Named(inner) = key.form {
        inner.iter().for_each(|key| collect(&format!("{path}.{}", key.name), key, into));
    }
}

/// The key at a path, and those under it; else every key of that name, as events and errors say it: `state_bytes_max`.
fn find_keys(topic: &str) -> Vec<ManifestKey> {
    let mut found = Vec::new();
    match find_key(topic) {
        Some(key) => collect(topic, key, &mut found),
        None => found.extend(all_keys().into_iter().filter(|key| {
            key.key.strip_suffix(topic).is_some_and(|before| before.ends_with('.')) && !topic.is_empty()
        })),
    }
    found
}

fn all_keys() -> Vec<ManifestKey> {
    let mut found = Vec::new();
    ROOT.iter().for_each(|key| collect(key.name, key, &mut found));
    found
}

/// Every key with its path.
fn keys_of_manifest() -> Vec<String> {
    all_keys().into_iter().map(|key| key.key).collect()
}

async fn settings(context: &Context, topic: &str) -> Outcome {
    let all: Outcome<List<Setting>> = context.with_host(async |mut host| host.get("/v1/settings").await).await;
    let all = all.map_err(|failure| unknown_offline(topic, failure))?;
    let mut known: Vec<String> = all.items.iter().map(|setting| setting.name.clone()).collect();
    known.extend(keys_of_manifest());
    let found: Vec<Setting> = all.items.into_iter().filter(|setting| is_about(setting, topic)).collect();
    if found.is_empty() {
        let shown = skep_core::name::shown(topic, 64);
        let failure = Failure::new("E_NO_TOPIC", format!("there is no code, no key and no setting {shown}"));
        let similar = skep_core::similar::closest(topic, known.iter().map(String::as_str));
        return Err(match similar {
            Some(similar) => failure.with_help(format!("did you mean {similar}?")),
            None => failure,
        });
    }
    let mut table = Table::new(&["setting", "value", "origin"]);
    for setting in &found {
        table.row([setting.name.clone(), setting.value.clone(), setting.origin.clone()]);
    }
    let names = found.iter().map(|setting| setting.name.clone()).collect();
    context.output.print(&Document::list("SettingList", &found, names, table))
}

/// Whether a setting's name, value or origin has the word.
fn is_about(setting: &Setting, topic: &str) -> bool {
    [&setting.name, &setting.value, &setting.origin].into_iter().any(|text| text.contains(topic))
}

/// Without a host the topic may still be a slip of a key.
fn unknown_offline(topic: &str, failure: Failure) -> Failure {
    match skep_core::similar::closest(topic, keys_of_manifest().iter().map(String::as_str)) {
        Some(similar) if !topic.is_empty() => {
            failure.with_help(format!("settings need a host; or did you mean {similar}?"))
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(topic: &str) -> Vec<String> {
        find_keys(topic).into_iter().map(|key| key.key).collect()
    }

    #[test]
    fn a_key_is_found_by_its_path_and_by_its_name_alone() {
        assert_eq!(found("agent.budget.state_bytes_max"), ["agent.budget.state_bytes_max"]);
        assert_eq!(found("state_bytes_max"), ["agent.budget.state_bytes_max"]);
        assert_eq!(found("budget.state_bytes_max"), ["agent.budget.state_bytes_max"]);
        assert_eq!(found("strategy"), ["supervisor.strategy"]);
        assert!(found("hive").len() > 1);
        for nothing in ["", "bytes_max", "agent.budgt"] {
            assert!(found(nothing).is_empty(), "{nothing}");
        }
    }
}
