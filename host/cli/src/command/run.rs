//! From the command line to the exit code. Never what a command does.

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};

use super::{Context, complete};
use crate::cli::{Cli, Command};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::output::{Color, Format, Output};

/// Runs the command of this process's command line.
pub fn run() -> ExitCode {
    complete::answer();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return told(&error),
    };
    let context = Context::new(&cli.global);
    match dispatch(&context, cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(failure) if failure.exit == Exit::Ok => ExitCode::SUCCESS,
        Err(failure) => {
            context.output.fail(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Help, a version, or what is wrong with the command line: as JSON where errors are to be.
fn told(error: &clap::Error) -> ExitCode {
    let is_wrong = error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    match json_is_asked_for(std::env::args_os()) {
        Some(format) if is_wrong => {
            let text = error.render().to_string();
            let (message, help) = text.split_once("\n\n").unwrap_or((&text, ""));
            let message = message.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
            let failure = Failure::usage(message).with_help(help.trim());
            Output::new(format, Color::Never, false, 0).fail(&failure);
        }
        // There is nobody else to tell if this fails.
        _ => drop(error.print()),
    }
    ExitCode::from(if error.use_stderr() { Exit::Usage } else { Exit::Ok } as u8)
}

/// The format that a command line names, however wrong it is otherwise, if it is JSON.
fn json_is_asked_for(args: impl Iterator<Item = OsString>) -> Option<Format> {
    let (mut found, mut is_value) = (None, false);
    for arg in args.map(|arg| arg.to_string_lossy().into_owned()).take_while(|arg| arg != "--") {
        let value = if is_value { Some(arg.as_str()) } else { None };
        let value = value.or_else(|| arg.strip_prefix("--output=")).or_else(|| arg.strip_prefix("-o"));
        is_value = arg == "--output" || arg == "-o";
        if let (Some(value), false) = (value, is_value) {
            found = Format::from_str(value.trim_start_matches('='), false).ok();
        }
    }
    found.filter(|format| matches!(format, Format::Json | Format::Jsonl))
}

fn dispatch(context: &Context, command: Command) -> Outcome<u8> {
    match command {
        Command::Up(args) => return super::up::run(context, args),
        Command::Demo(args) => return super::demo::run(context, args),
        Command::Down(args) => talk(super::down::run(context, args)),
        Command::Ps(args) => talk(super::ps::run(context, args)),
        Command::Nodes(args) => talk(super::nodes::run(context, args)),
        Command::Tree(args) => talk(super::tree::run(context, args)),
        Command::Call(args) => talk(super::call::run(context, args)),
        Command::Send(args) => talk(super::send::run(context, args)),
        Command::Spawn(args) => talk(super::spawn::run(context, args)),
        Command::Stop(args) => talk(super::stop::run(context, args)),
        Command::Restart(args) => talk(super::restart::run(context, args)),
        Command::Inspect(args) => talk(super::inspect::run(context, args)),
        Command::Logs(args) => talk(super::logs::run(context, args)),
        Command::Events(args) => talk(super::events::run(context, args)),
        Command::DeadLetters(args) => talk(super::dead_letters::run(context, args)),
        Command::Swap(args) => talk(super::swap::run(context, args)),
        Command::Session(sub) => talk(super::session::run(context, sub)),
        Command::Protocol(sub) => super::protocol::run(context, sub),
        Command::Explain(args) => talk(super::explain::run(context, args)),
        Command::Bench(args) => super::bench::run(context, args),
        Command::Check(args) => super::check::run(context, args),
        Command::Build(args) => super::build::run(context, args),
        Command::Completions(args) => super::completions::run(context, args),
        Command::Version(args) => super::version::run(context, args),
    }
    .map(|()| 0)
}

/// On one thread: a command waits for one host.
fn talk(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::io("the runtime of the command", &error))?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_command_line_still_says_how_errors_are_to_be_told() {
        let asked = |line: &str| json_is_asked_for(line.split(' ').map(OsString::from));
        for line in ["skep ps -o json --x", "skep --output=json x", "skep --output json", "skep -ojson", "skep -o=json"]
        {
            assert_eq!(asked(line), Some(Format::Json), "{line}");
        }
        assert_eq!(asked("skep ps -o jsonl --x"), Some(Format::Jsonl));
        for line in ["skep ps", "skep ps -o table", "skep ps -o xml", "skep call a -- -o json", "skep json -o"] {
            assert_eq!(asked(line), None, "{line}");
        }
    }
}
