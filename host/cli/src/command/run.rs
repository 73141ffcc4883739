//! From the command line to the exit code. Never what a command does.

use std::future::Future;
use std::process::ExitCode;

use clap::Parser;

use super::{Context, complete};
use crate::cli::{Cli, Command};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// Runs the command of this process's command line.
pub fn run() -> ExitCode {
    complete::answer();
    let cli = Cli::parse();
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

fn dispatch(context: &Context, command: Command) -> Outcome<u8> {
    match command {
        Command::Up(args) => return super::up::run(context, args),
        Command::Demo(args) => return super::demo::run(context, args),
        Command::Down(args) => talk(super::down::run(context, args)),
        Command::Ps(args) => talk(super::ps::run(context, args)),
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
