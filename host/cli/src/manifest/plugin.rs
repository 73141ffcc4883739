//! `[plugin.NAME]`: where a component file is and what it must be. Never opens it: what was found wrong with it by who
//! did is shown at its place here.

use std::ops::Range;
use std::path::Path;

use skep_core::spec::PluginSpec;
use skep_core::{Digest, Name};

use super::hive::Manifest;
use super::problem::{Code, LoadError, Problems};
use super::section::Section;
use crate::pages;

/// Where the file says what of a plugin may turn out to be wrong.
#[derive(Clone, Debug)]
pub(super) struct Place {
    path: Range<usize>,
    digest: Option<Range<usize>>,
}

impl Manifest {
    /// Plugins that cannot be used, as what is wrong with the manifest that names them.
    pub fn rejected_plugins(&self, errors: &[(Name, skep_runtime::Error)]) -> LoadError {
        let mut problems = Problems::default();
        for (name, error) in errors {
            let place = self.spec.plugins.iter().position(|plugin| plugin.name == *name);
            let place = place.and_then(|place| self.plugin_places.get(place));
            let code = error.code();
            let (span, label) = match place {
                Some(Place { digest: Some(digest), .. }) if code == "E_PLUGIN_DIGEST" => {
                    (digest.clone(), "this digest")
                }
                Some(place) => (place.path.clone(), "this file"),
                None => (0..0, "here"),
            };
            let message = match error {
                skep_runtime::Error::Engine(skep_engine::Error::Plugin { path, error }) => {
                    format!("plugin {name}: {path}: {error}")
                }
                error => format!("plugin {name}: {error}"),
            };
            problems.error(Code::Plugin(code), span, message, label, pages::help(code).map(str::to_owned));
        }
        LoadError::Rejected(Box::new(problems.reject(self.source.clone())))
    }
}

/// The plugins, in the order of the file, with their places; their paths become relative to the manifest's folder.
pub(super) fn read_all(root: &Section<'_>, folder: &Path, problems: &mut Problems) -> Vec<(PluginSpec, Place)> {
    let mut plugins = Vec::new();
    for (name, section) in root.named("plugin", problems) {
        let path = section.text("path", problems);
        if !section.has("path") {
            section.missing("path", "path = \"NAME.wasm\": the component file, relative to this file", problems);
        }
        if let Some(path) = &path
            && (path.value.is_empty() || path.value.contains('\0'))
        {
            let message = format!("`path` of {} is no path", section.what());
            problems.error(Code::Value, path.span.clone(), message, "no path", None);
        }
        let path = folder.join(path.map_or("", |path| path.value));
        let digest = digest(&section, problems);
        let place = Place { path: section.span_of("path"), digest: digest.map(|_| section.span_of("digest")) };
        plugins.push((PluginSpec { name: name.value, path, digest }, place));
    }
    plugins
}

fn digest(section: &Section<'_>, problems: &mut Problems) -> Option<Digest> {
    let text = section.text("digest", problems)?;
    let digest = Digest::parse(text.value);
    if digest.is_none() {
        let message = format!("`digest` of {} is no digest", section.what());
        let help = "accepted: sha256: and 64 hexadecimal digits, as `skep check` prints them".to_owned();
        problems.error(Code::Value, text.span, message, "no digest", Some(help));
    }
    digest
}
