//! `skep check`: a manifest with its components, or a component, without running anything.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use skep_core::Digest;
use skep_core::spec::{ChildSpec, SupervisorSpec};

use super::{Context, describe};
use crate::api::socket::shown_path;
use crate::failure::{Failure, Outcome};
use crate::manifest::{self, Manifest, UnknownKeys, shown_bytes};
use crate::output::{Document, Format, Table};

/// Check a manifest with its components, or one component, without running it
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep check                    ./hive.toml and its components
  skep check counter.wasm       one component")]
pub struct Args {
    /// A manifest, a folder with one, or a component
    #[arg(default_value = "hive.toml")]
    file: PathBuf,
    #[command(flatten)]
    leniency: Leniency,
}

/// How strictly a manifest is read.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Leniency {
    /// Warn of unknown keys of the manifest in place of refusing them; they do nothing
    #[arg(long)]
    pub(super) lenient: bool,
}

impl Leniency {
    fn unknown_keys(self) -> UnknownKeys {
        if self.lenient { UnknownKeys::Warnings } else { UnknownKeys::Errors }
    }
}

/// `Plugin`: a component that can be used.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Plugin {
    name: String,
    path: String,
    digest: String,
    bytes: u64,
    imports: Vec<String>,
}

/// `Checked`: what was found.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    file: String,
    agents: usize,
    supervisors: usize,
    plugins: Vec<Plugin>,
    warnings: Value,
}

pub(super) fn run(context: &Context, args: Args) -> Outcome {
    let patient = context.clone();
    let Args { file, leniency } = args;
    let check = move || if is_component(&file) { component(&file) } else { hive(&patient, &file, leniency) };
    let checked = context.blocking(check)?;
    if context.output.format == Format::Table && context.output.terminal {
        let what =
            format!("{} can be used: {} agents, {} supervisors", checked.file, checked.agents, checked.supervisors);
        context.output.note(&what);
    }
    let mut table = Table::new(&["plugin", "file", "size", "digest", "imports"]);
    for plugin in &checked.plugins {
        table.row([
            plugin.name.clone(),
            plugin.path.clone(),
            shown_bytes(plugin.bytes),
            if context.output.terminal { describe::short_digest(&plugin.digest) } else { plugin.digest.clone() },
            plugin.imports.join(" "),
        ]);
    }
    context.output.print(&Document::one("Checked", &checked, checked.file.clone(), table))
}

/// Anything that is not named as a manifest is taken for a component: the engine says best what else it looks like.
fn is_component(path: &Path) -> bool {
    !path.is_dir() && path.extension().is_none_or(|ending| ending != "toml")
}

fn component(path: &Path) -> Outcome<Checked> {
    let plugin = plugin(&path.file_stem().unwrap_or_default().to_string_lossy(), path, None)?;
    let (file, plugins) = (shown_path(path), vec![plugin]);
    Ok(Checked { file, agents: 0, supervisors: 0, plugins, warnings: Value::Array(Vec::new()) })
}

fn hive(context: &Context, path: &Path, leniency: Leniency) -> Outcome<Checked> {
    let manifest = load(context, path, leniency)?;
    let mut plugins = Vec::new();
    let mut errors = Vec::new();
    for spec in &manifest.spec.plugins {
        match plugin(spec.name.as_str(), &spec.path, spec.digest) {
            Ok(plugin) => plugins.push(plugin),
            Err(error) => errors.push((spec.name.clone(), error)),
        }
    }
    if !errors.is_empty() {
        return Err(Failure::of_manifest(manifest.rejected_plugins(&errors), context.output.talk_color));
    }
    let (agents, supervisors) = counted(&manifest.spec.root);
    let warnings = manifest.warnings_to_json();
    Ok(Checked { file: shown_path(&manifest.path), agents, supervisors, plugins, warnings })
}

/// The manifest, with its warnings told.
pub(super) fn load(context: &Context, path: &Path, leniency: Leniency) -> Outcome<Manifest> {
    let color = context.output.talk_color;
    let manifest = manifest::load(path, leniency.unknown_keys()).map_err(|error| Failure::of_manifest(error, color))?;
    if !manifest.warnings.is_empty() {
        context.output.note(manifest.shown_warnings(color).trim_end());
    }
    Ok(manifest)
}

fn plugin(name: &str, path: &Path, expect: Option<Digest>) -> Result<Plugin, skep_runtime::Error> {
    let info = skep_runtime::check_plugin(path, expect, None)?;
    Ok(Plugin {
        name: skep_core::name::shown(name, 128),
        path: shown_path(path),
        digest: info.digest.to_string(),
        bytes: info.bytes,
        imports: info.imports.iter().map(ToString::to_string).collect(),
    })
}

/// Agents and supervisors. At most 64 deep.
fn counted(supervisor: &SupervisorSpec) -> (usize, usize) {
    supervisor.children.iter().fold((0, 1), |(agents, supervisors), child| match child {
        ChildSpec::Agent(_) => (agents + 1, supervisors),
        ChildSpec::Supervisor(inner) => {
            let (more_agents, more_supervisors) = counted(inner);
            (agents + more_agents, supervisors + more_supervisors)
        }
    })
}
