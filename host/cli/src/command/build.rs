//! `skep build`: a guest's source becomes a component file. Never runs what it has built.

use std::path::PathBuf;

use serde::Serialize;

use super::{Context, describe};
use crate::api::socket::shown_path;
use crate::build::{self, BuildOptions, Built, Progress};
use crate::failure::{Failure, Outcome};
use crate::output::{Document, Table};

/// Build a component from a guest's source: a Cargo.toml (Rust) or an app.py (Python)
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep build
  skep build agents/counter --out counter.wasm")]
pub struct Args {
    /// The folder with the source
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where the component goes: a file that ends in .wasm, or a folder [default: the target folder]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// The folder for what is compiled [default: target of the guest]
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
}

/// `Component`: a component file that was built.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    name: String,
    path: String,
    digest: String,
    bytes: u64,
    language: &'static str,
    unchanged: bool,
}

pub(super) fn run(context: &Context, args: Args) -> Outcome {
    let mut options = BuildOptions { out: args.out, target_dir: args.target_dir, ..BuildOptions::new(args.dir) };
    options.child_time_max = context.timeout.unwrap_or(options.child_time_max);
    let built = build::build(&options, &mut |progress| tell(context, progress));
    let built: Vec<Component> =
        built.map_err(|error| Failure::new(error.code(), error.to_string()))?.iter().map(component).collect();
    let mut table = Table::new(&["name", "file", "bytes", "digest"]);
    for one in &built {
        table.row([one.name.clone(), one.path.clone(), one.bytes.to_string(), describe::short_digest(&one.digest)]);
    }
    let names = built.iter().map(|one| one.path.clone()).collect();
    context.output.print(&Document::list("ComponentList", &built, names, table))
}

fn component(built: &Built) -> Component {
    Component {
        name: built.name.clone(),
        path: shown_path(&built.path),
        digest: built.digest.to_string(),
        bytes: built.bytes,
        language: built.language,
        unchanged: built.unchanged,
    }
}

fn tell(context: &Context, progress: Progress<'_>) {
    match progress {
        Progress::Toolchain(way) => context.output.note(&format!("building {way}")),
        Progress::Compiled { package, fresh: false } => context.output.note(&format!("compiled {package}")),
        Progress::Encoding(name) => context.output.note(&format!("making the component {name}")),
        _ => {}
    }
}
