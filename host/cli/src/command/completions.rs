//! `skep completions`: what a shell runs to complete commands, options and names. Never what is completed: that is
//! found when it is asked for.

use std::path::PathBuf;

use clap::ValueEnum;
use clap_complete::env::Shells;

use super::Context;
use crate::failure::{Failure, Outcome};

/// Print the script that completes commands, options and names of agents in a shell
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  source <(skep completions bash)        in ~/.bashrc
  source <(skep completions zsh)         in ~/.zshrc
  skep completions fish | source         in ~/.config/fish/config.fish")]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// A shell that can be helped.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
    Elvish,
}

pub(super) fn run(context: &Context, args: Args) -> Outcome {
    let name = format!("{:?}", args.shell).to_lowercase();
    let shells = Shells::builtins();
    let this = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("skep"));
    let mut script = Vec::new();
    let Some(shell) = shells.completer(&name) else {
        return Err(Failure::usage(format!("there is no script for {name}")));
    };
    shell
        .write_registration("COMPLETE", "skep", "skep", &this.to_string_lossy(), &mut script)
        .map_err(|error| Failure::io("the script", &error))?;
    context.output.write(&script)
}
