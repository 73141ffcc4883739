//! A folder with a `Cargo.toml` becomes components: `cargo build --release --target wasm32-unknown-unknown`, then
//! wit-component. Never another profile: what is tested is what is shipped.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::{self, Error};
use super::toolchain::{PROBE_TIME_MAX, TARGET, Toolchain};
use super::{BuildOptions, Built, Progress, child, component, out_file};

/// Builds every guest of the folder.
pub(super) fn build(
    dir: &Path,
    options: &BuildOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Built>, Error> {
    let toolchain = options.toolchain.map_or_else(|| Toolchain::detect(dir), Ok)?;
    progress(Progress::Toolchain(toolchain.describe()));
    let metadata = Metadata::read(dir, toolchain)?;
    let guests = metadata.guests(dir)?;
    let target_dir = options.target_dir.clone().unwrap_or_else(|| metadata.target_directory.clone());
    let outs = guests
        .iter()
        .map(|guest| out_file(options, &target_dir, &guest.name, guests.len()))
        .collect::<Result<Vec<_>, _>>()?;
    let modules = compile(dir, toolchain, &guests, &target_dir, options, progress)?;
    guests.iter().zip(outs).map(|(guest, out)| encode(guest, &modules, out, progress)).collect()
}

/// Runs cargo, and gives the core module of each package id.
fn compile(
    dir: &Path,
    toolchain: Toolchain,
    guests: &[&Package],
    target_dir: &Path,
    options: &BuildOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<HashMap<String, PathBuf>, Error> {
    let mut cargo = toolchain.cargo(dir);
    cargo.args(["build", "--release", "--lib", "--target", TARGET, "--message-format=json-render-diagnostics"]);
    cargo.args(toolchain.build_options()).arg("--target-dir").arg(target_dir);
    for guest in guests {
        cargo.arg("--package").arg(&guest.id);
    }
    let mut modules = HashMap::new();
    let what = format!("cargo build of {}", error::path(dir));
    child::run(&mut cargo, &what, options.child_time_max, &mut |line| {
        let Some(artifact) = Artifact::parse(line) else { return };
        if !artifact.target.is_build_script() {
            progress(Progress::Compiled { package: &artifact.target.name, fresh: artifact.fresh });
        }
        if let Some(module) = artifact.module() {
            modules.insert(artifact.package_id, module);
        }
    })?;
    Ok(modules)
}

fn encode(
    guest: &Package,
    modules: &HashMap<String, PathBuf>,
    out: PathBuf,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Built, Error> {
    progress(Progress::Encoding(&guest.name));
    let no_module =
        || Error::Component { name: guest.name.clone(), why: "cargo built no wasm module for it".to_owned() };
    let module = modules.get(&guest.id).ok_or_else(no_module)?;
    let bytes = component::read(module)?.ok_or_else(no_module)?;
    let bytes = component::from_core(&guest.name, &bytes)?;
    let unchanged = !component::write(&out, &bytes)?;
    let digest = component::digest(&bytes);
    Ok(Built { name: guest.name.clone(), path: out, digest, bytes: bytes.len() as u64, language: "rust", unchanged })
}

/// What `cargo metadata` says, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    crate_types: Vec<String>,
}

impl Metadata {
    fn read(dir: &Path, toolchain: Toolchain) -> Result<Self, Error> {
        let what = format!("cargo metadata of {}", error::path(dir));
        let mut cargo = toolchain.cargo(dir);
        cargo.args(["metadata", "--no-deps", "--format-version=1"]);
        let said = child::output(&mut cargo, &what, PROBE_TIME_MAX)?;
        serde_json::from_str(&said).map_err(|cause| Error::Failed {
            what,
            status: "its answer is not understood".to_owned(),
            output: error::tail(cause.to_string().as_bytes()),
        })
    }

    /// The guests that a folder stands for: its own package, or at the root of a workspace all members.
    fn guests(&self, dir: &Path) -> Result<Vec<&Package>, Error> {
        let is_root = self.workspace_root.canonicalize().is_ok_and(|root| root == dir);
        let is_here = |package: &Package| package.manifest_path.parent().is_some_and(|own| own == dir);
        let guests: Vec<&Package> =
            self.packages.iter().filter(|package| (is_root || is_here(package)) && package.is_guest()).collect();
        if guests.is_empty() {
            let why = "no package in it is a `cdylib`; a guest's Cargo.toml says\n  [lib]\n  crate-type = [\"cdylib\"]"
                .to_owned();
            return Err(Error::NoGuest { dir: error::path(dir), why });
        }
        Ok(guests)
    }
}

impl Package {
    fn is_guest(&self) -> bool {
        self.targets.iter().any(Target::is_cdylib)
    }
}

impl Target {
    fn is_cdylib(&self) -> bool {
        self.crate_types.iter().any(|crate_type| crate_type == "cdylib")
    }

    fn is_build_script(&self) -> bool {
        self.kind.iter().any(|kind| kind == "custom-build")
    }
}

/// A line of cargo's about a crate that is compiled.
#[derive(Deserialize)]
struct Artifact {
    package_id: String,
    target: Target,
    filenames: Vec<PathBuf>,
    fresh: bool,
}

impl Artifact {
    /// None for all other lines.
    fn parse(line: &str) -> Option<Self> {
        if line.starts_with(r#"{"reason":"compiler-artifact""#) { serde_json::from_str(line).ok() } else { None }
    }

    fn module(&self) -> Option<PathBuf> {
        let is_wasm = |file: &&PathBuf| file.extension().is_some_and(|ending| ending == "wasm");
        if self.target.is_cdylib() { self.filenames.iter().find(is_wasm).cloned() } else { None }
    }
}
