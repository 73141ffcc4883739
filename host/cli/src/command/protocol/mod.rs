//! `skep protocol`: coordination protocols by themselves, without a host: which there are, what they say of themselves, a
//! rehearsal, and a log played again.

mod replay;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use serde_json::{Value, json};
use skep_core::session::{MEMBERS_MAX, Manifest};
use skep_runtime::{Cast, Protocol, record_to_json};

use super::{Context, input};
use crate::api::socket::shown_path;
use crate::failure::{Failure, Outcome};
use crate::output::{Document, Format, Table};

/// Components of a folder that are looked at.
const FILES_MAX: usize = 1_000;
/// What of a folder's components is looked at, in bytes: protocols are small.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Look at coordination protocols and rehearse them, without a host
#[derive(Debug, Subcommand)]
pub enum Sub {
    /// List the protocols in a folder of components
    #[command(before_help = "Examples:\n  skep protocol list\n  skep protocol list --dir build/components")]
    List(Place),
    /// Show what a protocol says of itself: schemas, limits, properties
    #[command(before_help = "Examples:
  skep protocol describe auction/sealed-bid
  skep protocol describe my-protocol.wasm -o json | jq .configSchema")]
    Describe(Which),
    /// Run one session with members that do what a script says, and print its outcome as JSON
    #[command(before_help = "Example:
  skep protocol try auction/sealed-bid --config lamp.json --members script.json")]
    Try(Try),
    /// Play the log of a session again, and see that it comes to the same outcome
    #[command(before_help = "Example:
  skep session inspect lamp -o json > lamp.json
  skep session log lamp -o json > lamp.log
  skep protocol replay auction/sealed-bid --session lamp.json --log lamp.log")]
    Replay(replay::Replay),
}

/// Where protocols are looked for.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The folder [default: where `make guests` puts components, or beside skep]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Which protocol.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// What it calls itself, or its component file
    protocol: String,
    #[command(flatten)]
    place: Place,
}

/// What is tried.
#[derive(Debug, clap::Args)]
pub struct Try {
    #[command(flatten)]
    which: Which,
    /// The config, as the protocol's schema says
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The members and what each of them does; docs/sessions.md has the format
    #[arg(long, value_name = "FILE")]
    members: PathBuf,
    /// Print the whole log too
    #[arg(long)]
    log: bool,
}

/// `Protocol`: what a protocol says of itself.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    name: String,
    version: String,
    path: String,
    digest: String,
    state_version: u32,
    config_schema: Value,
    outcome_schema: Value,
    ask_schemas: Value,
    roles: Vec<String>,
    order_sensitive: bool,
    properties: Vec<String>,
    default_deadline_ms: u64,
    members_min: u32,
    members_max: Option<u32>,
    state_bytes_max: u32,
    effects_per_step_max: u32,
    fuel_per_step: u64,
}

pub(super) fn run(context: &Context, sub: Sub) -> Outcome {
    match sub {
        Sub::List(place) => list(context, place),
        Sub::Describe(which) => describe(context, which),
        Sub::Try(args) => rehearse(context, args),
        Sub::Replay(args) => replay::run(context, args),
    }
}

fn list(context: &Context, place: Place) -> Outcome {
    let found = context.blocking(move || protocols(&place))?;
    let mut table = Table::new(&["protocol", "version", "properties", "file"]);
    let described: Vec<Described> = found.iter().map(|(path, protocol)| described(path, protocol)).collect();
    for one in &described {
        table.row([one.name.clone(), one.version.clone(), one.properties.join(" "), one.path.clone()]);
    }
    let names = described.iter().map(|one| one.name.clone()).collect();
    context.output.print(&Document::list("ProtocolList", &described, names, table))
}

fn describe(context: &Context, which: Which) -> Outcome {
    let (path, protocol) = context.blocking(move || open(&which))?;
    let one = described(&path, &protocol);
    let table = Table::of_pairs([
        ("protocol", one.name.clone()),
        ("version", one.version.clone()),
        ("file", one.path.clone()),
        ("digest", one.digest.clone()),
        ("config", one.config_schema.to_string()),
        ("outcome", one.outcome_schema.to_string()),
        ("answers", one.ask_schemas.to_string()),
        ("roles", one.roles.join(", ")),
        ("properties", one.properties.join(", ")),
        ("deadline", format!("{} ms unless the session says otherwise", one.default_deadline_ms)),
        (
            "members",
            format!("{} to {}", one.members_min, one.members_max.map_or(MEMBERS_MAX, |max| max.min(MEMBERS_MAX))),
        ),
        ("state", format!("{} bytes at most", one.state_bytes_max)),
        ("effects", format!("{} in a step at most", one.effects_per_step_max)),
        ("fuel", format!("{} for a step", one.fuel_per_step)),
    ]);
    context.output.print(&Document::one("Protocol", &one, one.name.clone(), table))
}

fn rehearse(context: &Context, args: Try) -> Outcome {
    let config = args.config.map(|file| input::json_file(context, file)).transpose()?;
    let config = config.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let cast = cast(input::json_file(context, args.members)?)?;
    let (which, with_log) = (args.which, args.log);
    let outcome = context.blocking(move || {
        let (_, protocol) = open(&which)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(|error| Failure::io("the runtime of the rehearsal", &error))?;
        let rehearsed = runtime.block_on(protocol.rehearse(config, &cast))?;
        let mut outcome = record_to_json(&rehearsed.record);
        if let (true, Some(fields)) = (with_log, outcome.as_object_mut()) {
            fields.insert("log".to_owned(), json!(rehearsed.log));
        }
        Ok(outcome)
    })?;
    let format = match context.output.format {
        Format::Table => Format::Json,
        other => other,
    };
    let output = crate::output::Output { format, ..context.output.clone() };
    output.print(&Document::one("Outcome", &outcome, "rehearsal", Table::default()))
}

/// A list of members with their scripts, or an object that has one beside what happens to the session.
fn cast(value: Value) -> Outcome<Cast> {
    let value = if value.is_array() { json!({ "members": value }) } else { value };
    let wrong = |error: serde_json::Error| {
        Failure::usage(format!("--members: {error}")).with_help("docs/sessions.md has the format, with an example")
    };
    serde_json::from_value(value).map_err(wrong)
}

fn open(which: &Which) -> Outcome<(PathBuf, Protocol)> {
    let file = Path::new(&which.protocol);
    if file.is_file() || file.extension().is_some_and(|ending| ending == "wasm") {
        return Ok((file.to_owned(), Protocol::open(file, None)?));
    }
    let mut found = protocols(&which.place)?;
    let known: Vec<String> = found.iter().map(|(_, protocol)| protocol.manifest().name.clone()).collect();
    match found.iter().position(|(path, protocol)| is_named(path, protocol, &which.protocol)) {
        Some(at) => Ok(found.swap_remove(at)),
        None => {
            let shown = skep_core::name::shown(&which.protocol, 128);
            let failure = Failure::new("E_NO_PROTOCOL", format!("there is no protocol {shown}"));
            Err(failure.with_help(format!("there are: {}", known.join(", "))))
        }
    }
}

fn is_named(path: &Path, protocol: &Protocol, text: &str) -> bool {
    protocol.manifest().name == text || path.file_stem().is_some_and(|stem| stem == text)
}

/// Every protocol of a folder, by name. What is none is passed over.
fn protocols(place: &Place) -> Outcome<Vec<(PathBuf, Protocol)>> {
    let dir = folder(place.dir.as_deref())?;
    let entries = std::fs::read_dir(&dir).map_err(|error| Failure::io(&shown_path(&dir), &error))?;
    let files = entries.filter_map(Result::ok).map(|entry| entry.path()).take(FILES_MAX);
    let is_candidate = |path: &PathBuf| {
        let small = std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() <= FILE_BYTES_MAX);
        small && path.extension().is_some_and(|ending| ending == "wasm")
    };
    let opened = files.filter(is_candidate).filter_map(|path| Some((path.clone(), Protocol::open(&path, None).ok()?)));
    let mut found: Vec<(PathBuf, Protocol)> = opened.collect();
    found.sort_by(|(_, one), (_, other)| one.manifest().name.cmp(&other.manifest().name));
    Ok(found)
}

/// The folder that was named, or the first of the usual ones.
fn folder(named: Option<&Path>) -> Outcome<PathBuf> {
    let places = named.map_or_else(crate::guests::folders, |named| vec![named.to_owned()]);
    places.iter().find(|place| place.is_dir()).cloned().ok_or_else(|| {
        let shown: Vec<String> = places.iter().map(|place| shown_path(place)).collect();
        Failure::new("E_NO_PROTOCOL", format!("there is no folder of components at {}", shown.join(" or ")))
    })
}

fn described(path: &Path, protocol: &Protocol) -> Described {
    let Manifest { name, version, state_version, roles, order_sensitive, properties, timing, limits, .. } =
        protocol.manifest().clone();
    let manifest = protocol.manifest();
    let schema = |text: &str| serde_json::from_str(text).unwrap_or_default();
    let answers = manifest.ask_schemas.iter().map(|(name, text)| (name.clone(), schema(text)));
    Described {
        name,
        version,
        path: shown_path(path),
        digest: protocol.digest().to_string(),
        state_version,
        config_schema: schema(&manifest.config_schema),
        outcome_schema: schema(&manifest.outcome_schema),
        ask_schemas: Value::Object(answers.collect()),
        roles,
        order_sensitive,
        properties,
        default_deadline_ms: timing.default_deadline_ms,
        members_min: timing.members_min,
        members_max: timing.members_max,
        state_bytes_max: limits.state_bytes_max,
        effects_per_step_max: limits.effects_per_step_max,
        fuel_per_step: limits.fuel_per_step,
    }
}
