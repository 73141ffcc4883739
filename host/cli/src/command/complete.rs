//! What a shell asks for when its user presses the tab key: commands, options, and the names of the agents that run.
//! Never an error: where no host answers there are no names.

use std::ffi::OsStr;
use std::time::Duration;

use clap::CommandFactory;
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use crate::api::kinds;
use crate::api::types::{Agent, DeadLetter, List};
use crate::cli::Cli;
use crate::client::{Connection, find_data_dir};
use crate::pages;

/// The longest that a user who presses tab is kept waiting.
const PATIENCE: Duration = Duration::from_millis(500);

/// Answers a shell and ends the process, if a shell asked; a shell sets COMPLETE.
pub(super) fn answer() {
    CompleteEnv::with_factory(Cli::command).complete();
}

/// Completes names of agents.
pub(super) fn agents() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        let agents: Option<List<Agent>> = asked("/v1/agents");
        beginning(begun, agents.into_iter().flat_map(|list| list.items).map(|agent| (agent.name, agent.status)))
    })
}

/// Completes names of agents and plugins.
pub(super) fn agents_and_plugins() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        let agents: Option<List<Agent>> = asked("/v1/agents");
        let agents: Vec<Agent> = agents.into_iter().flat_map(|list| list.items).collect();
        let plugins: std::collections::BTreeSet<String> = agents.iter().map(|agent| agent.plugin.clone()).collect();
        let plugins = plugins.into_iter().map(|plugin| (plugin, "plugin".to_owned()));
        beginning(begun, plugins.chain(agents.iter().map(|agent| (agent.name.clone(), agent.status.clone()))))
    })
}

/// Completes ids of dead letters.
pub(super) fn dead_letters() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        let letters: Option<List<DeadLetter>> = asked("/v1/dead-letters");
        beginning(begun, letters.into_iter().flat_map(|list| list.items).map(|letter| (letter.id, letter.to)))
    })
}

/// Completes names of events.
pub(super) fn kinds() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        beginning(begun, kinds::NAMES.iter().map(|name| ((*name).to_owned(), String::new())))
    })
}

/// Completes codes of errors.
pub(super) fn codes() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| {
        beginning(begun, pages::codes().map(|code| (code.to_owned(), pages::title(code).unwrap_or("").to_owned())))
    })
}

fn beginning(begun: &OsStr, all: impl Iterator<Item = (String, String)>) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy();
    let help = |help: String| (!help.is_empty()).then(|| help.into());
    all.filter(|(name, _)| name.starts_with(&*begun))
        .map(|(name, about)| CompletionCandidate::new(name).help(help(about)))
        .collect()
}

fn asked<T: serde::de::DeserializeOwned>(path: &str) -> Option<T> {
    let data = find_data_dir(None).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let talk = async { Connection::open(&data).await?.get(path).await };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, talk).await }).ok()?.ok()
}
