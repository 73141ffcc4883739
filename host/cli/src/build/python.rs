//! A folder with an `app.py` becomes a component: `componentize-py -d WIT -w agent componentize app`. Never a download:
//! what the agent imports lies in its folder, in `vendor`, or in the active virtual environment.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{self, Error};
use super::inputs::{self, Note};
use super::toolchain::PROBE_TIME_MAX;
use super::{BuildOptions, Built, Progress, child, component, embedded, out_file};

/// The version that is tried and recommended.
const VERSION: &str = "0.25.1";

/// Builds the folder's component, or finds it up to date.
pub(super) fn build(
    dir: &Path,
    options: &BuildOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Built, Error> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let target_dir = options.target_dir.clone().unwrap_or_else(|| dir.join("target"));
    let out = out_file(options, &target_dir, &name, 1)?;
    let tool = Componentize::find(&target_dir)?;
    progress(Progress::Toolchain(&format!("with {}", tool.version)));
    let inputs = inputs::digest(dir, &format!("{}\n{}\n{}", tool.version, embedded::digest(), installed()))?;
    let note = Note::of(&out);
    let before = component::read(&out)?.filter(|bytes| note.holds(inputs, component::digest(bytes)));
    let unchanged = before.is_some();
    let bytes = match before {
        Some(bytes) => bytes,
        None => {
            progress(Progress::Encoding(&name));
            let bytes = tool.run(dir, &target_dir, options)?;
            component::write(&out, &bytes)?;
            note.write(inputs, component::digest(&bytes))?;
            bytes
        }
    };
    let digest = component::digest(&bytes);
    Ok(Built { name, path: out, digest, bytes: bytes.len() as u64, language: "python", unchanged })
}

/// What is installed in the active virtual environment, from which componentize-py takes imports: the names of its
/// packages, which have the versions in them.
fn installed() -> String {
    let Some(environment) = std::env::var_os("VIRTUAL_ENV") else { return String::new() };
    let names = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let libraries = PathBuf::from(environment).join("lib");
    let mut all: Vec<String> = names(libraries.clone())
        .iter()
        .flat_map(|python| names(libraries.join(python).join("site-packages")))
        .collect();
    all.sort();
    all.join("\n")
}

struct Componentize {
    program: PathBuf,
    version: String,
}

impl Componentize {
    /// That of the virtual environment which `make setup` puts into the target folder, else that in PATH.
    fn find(target_dir: &Path) -> Result<Self, Error> {
        let own = target_dir.join("venv/bin/componentize-py");
        let version = |program: &PathBuf| {
            let said = child::output(Command::new(program).arg("--version"), "componentize-py", PROBE_TIME_MAX).ok()?;
            Some(Self { program: program.clone(), version: said.trim().to_owned() })
        };
        [own, PathBuf::from("componentize-py")].iter().find_map(version).ok_or_else(|| {
            Error::Toolchain(format!(
                "there is no componentize-py, which makes components of Python: in a virtual environment run \
                 `pip install componentize-py=={VERSION}` and put its bin folder into PATH (in Skep's own folder `make setup` does it)"
            ))
        })
    }

    /// The bytes of the component.
    fn run(&self, dir: &Path, target_dir: &Path, options: &BuildOptions) -> Result<Vec<u8>, Error> {
        let unpacked = embedded::Unpacked::new(target_dir)?;
        let out = unpacked.wit().with_file_name("component.wasm");
        let mut command = Command::new(&self.program);
        command.current_dir(dir).arg("-d").arg(unpacked.wit()).args(["-w", "agent", "componentize", "app"]);
        for folder in [dir.to_owned(), dir.join("vendor"), unpacked.python()] {
            if folder.is_dir() {
                command.arg("-p").arg(folder);
            }
        }
        // It would add the frames of componentize-py itself to every error of the guest.
        command.arg("-o").arg(&out).env_remove("RUST_BACKTRACE");
        let what = format!("componentize-py of {}", error::path(dir));
        child::run(&mut command, &what, options.child_time_max, &mut |_| ())?;
        component::read(&out)?.ok_or_else(|| Error::Failed {
            what,
            status: "it wrote no component".to_owned(),
            output: error::tail(b""),
        })
    }
}
