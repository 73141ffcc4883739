//! The whole file: reads it, walks its sections and puts the hive together. Never starts it.

use std::io::Read;
use std::path::{Path, PathBuf};

use skep_core::Name;
use skep_core::spec::{HiveSpec, PluginSpec};
use toml::de::DeTable;

use super::cluster::Cluster;
use super::keys::ROOT;
use super::problem::{Code, LoadError, Problem, Problems, Rejected, UnknownKeys, shown_path};
use super::section::Section;
use super::source::Source;
use super::{agent, cluster, plugin, supervisor, tree};

/// The largest manifest, in bytes: 100,000 agents of 160 bytes.
pub const MANIFEST_BYTES_MAX: u64 = 16 << 20;
/// The most agents of one manifest, with those that `count` makes.
pub const AGENTS_MAX: usize = 100_000;
/// The name of a manifest where a folder is given.
const FILE_NAME: &str = "hive.toml";

/// A manifest that can be used.
#[derive(Debug)]
pub struct Manifest {
    /// What it says.
    pub spec: HiveSpec,
    /// What it says of the hosts of the hive.
    pub cluster: Cluster,
    /// Where it is.
    pub path: PathBuf,
    /// What is probably a mistake in it, ready to be shown through [`Manifest::shown_warnings`].
    pub warnings: Vec<Problem>,
    /// Warnings beyond the most that are kept.
    pub warnings_left_out: usize,
    pub(super) source: Source,
    /// In the order of the plugins.
    pub(super) plugin_places: Vec<plugin::Place>,
    /// The keys of `[hive]` that are there.
    hive_keys: Vec<&'static str>,
}

impl Manifest {
    /// What has set a key of `[hive]`, for people.
    pub fn origin(&self, key: &str) -> String {
        if self.hive_keys.contains(&key) { format!("the manifest: hive.{key}") } else { "default".to_owned() }
    }

    /// The folder that it is in.
    pub fn folder(&self) -> &Path {
        folder_of(&self.path)
    }
}

/// Reads a manifest, or `hive.toml` in a folder.
pub fn load(path: &Path, unknown_keys: UnknownKeys) -> Result<Manifest, LoadError> {
    let path = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
    let mut bytes = Vec::new();
    let file = skep_engine::open_regular(&path).map_err(|error| LoadError::io(&path, error))?;
    file.take(MANIFEST_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| LoadError::io(&path, error))?;
    if bytes.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(LoadError::TooLarge { path: shown_path(&path), bytes_max: MANIFEST_BYTES_MAX });
    }
    match String::from_utf8(bytes) {
        Ok(text) => parse_as(&text, &path, unknown_keys).map_err(|rejected| LoadError::Rejected(Box::new(rejected))),
        Err(error) => Err(LoadError::Rejected(Box::new(not_utf8(&error, &path)))),
    }
}

/// Reads a manifest's text; paths in it are relative to the folder of `path`. Unknown keys are errors.
pub fn parse(text: &str, path: &Path) -> Result<Manifest, Rejected> {
    parse_as(text, path, UnknownKeys::default())
}

/// As [`parse`], and unknown keys are what `unknown_keys` says. Nothing else is.
pub fn parse_as(text: &str, path: &Path, unknown_keys: UnknownKeys) -> Result<Manifest, Rejected> {
    let source = Source::new(shown_path(path), text);
    let mut problems = Problems::new(unknown_keys);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !syntax_problems(text, &errors, &mut problems) {
        return Err(problems.reject(source));
    }
    let root = Section::new(table.get_ref(), ROOT, "the manifest".to_owned(), 0..0, &mut problems);
    let (spec, plugin_places) = read(&root, folder_of(path), &mut problems);
    match spec {
        Some((spec, cluster)) if !problems.any_error() => {
            let (warnings, warnings_left_out) = problems.into_sorted();
            let hive_keys = root.keys_of("hive");
            let path = path.to_owned();
            Ok(Manifest { spec, cluster, path, warnings, warnings_left_out, source, plugin_places, hive_keys })
        }
        _ => Err(problems.reject(source)),
    }
}

/// What the TOML parser has to say. Whether the file can be walked all the same: it can if only keys are there twice.
pub(super) fn syntax_problems(text: &str, errors: &[toml::de::Error], problems: &mut Problems) -> bool {
    let mut walkable = true;
    for error in errors {
        let mut message = skep_core::name::shown(error.message(), 200);
        let duplicate = message.starts_with("duplicate key");
        if let (true, Some(key)) = (duplicate, error.span().and_then(|span| text.get(span))) {
            message.push_str(&format!(" `{}`", skep_core::name::shown(key, 64)));
        }
        walkable &= duplicate;
        let (code, label, help) = if duplicate {
            (Code::Duplicate, "the second one", Some("a table or a key is written once".to_owned()))
        } else {
            (Code::Syntax, "here", None)
        };
        problems.error(code, error.span().unwrap_or(0..0), message, label, help);
    }
    walkable
}

type Parts = (Option<(HiveSpec, Cluster)>, Vec<plugin::Place>);

fn read(root: &Section<'_>, folder: &Path, problems: &mut Problems) -> Parts {
    let spec = hive(root, problems);
    let (plugins, places): (Vec<_>, Vec<_>) = plugin::read_all(root, folder, problems).into_iter().unzip();
    let supervisors = supervisor::read_all(root, problems);
    let agents = agent::read_all(root, problems);
    let names: Vec<Name> = plugins.iter().map(|plugin: &PluginSpec| plugin.name.clone()).collect();
    let body_bytes_max = spec.as_ref().map_or(0, |(spec, _)| spec.body_bytes_max);
    // Whom another host has is not known here.
    let is_alone = spec.as_ref().is_some_and(|(_, cluster)| cluster.nats.is_none());
    let tree = tree::build(supervisors, agents, &names, body_bytes_max, is_alone, problems);
    let spec = spec.zip(tree).map(|((spec, cluster), root)| (HiveSpec { plugins, root, ..spec }, cluster));
    (spec, places)
}

fn hive(root: &Section<'_>, problems: &mut Problems) -> Option<(HiveSpec, Cluster)> {
    let help = "[hive]\nname = \"NAME\"";
    if !root.has("hive") {
        root.missing("hive", help, problems);
    }
    let section = root.table("hive", problems)?;
    let name = section.name("name", problems);
    if !section.has("name") {
        section.missing("name", help, problems);
    }
    let name = name.map(|name| name.value).or_else(|| Name::new("unnamed").ok())?;
    let mut spec = HiveSpec::new(name);
    section.number("body_bytes_max", &mut spec.body_bytes_max, problems);
    section.number("client_window_ms", &mut spec.client_window_ms, problems);
    section.number("sessions_kept_max", &mut spec.sessions_kept_max, problems);
    Some((spec, cluster::read(&section, problems)))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn not_utf8(error: &std::string::FromUtf8Error, path: &Path) -> Rejected {
    let text = String::from_utf8_lossy(error.as_bytes());
    let at = error.utf8_error().valid_up_to();
    let mut problems = Problems::default();
    let message = format!("the file is not UTF-8: byte {at} is wrong");
    problems.error(Code::Syntax, at..at + 1, message, "here", Some("save it as UTF-8 text".to_owned()));
    problems.reject(Source::new(shown_path(path), &text))
}
