//! `[plugin.NAME]`: where a component file is and what it must be. Never opens it.

use std::path::Path;

use skep_core::Digest;
use skep_core::spec::PluginSpec;

use super::problem::{Code, Problems};
use super::section::Section;

/// The plugins, in the order of the file; their paths become relative to the manifest's folder.
pub(super) fn read_all(root: &Section<'_>, folder: &Path, problems: &mut Problems) -> Vec<PluginSpec> {
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
        plugins.push(PluginSpec { name: name.value, path, digest });
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
