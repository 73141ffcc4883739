//! The command line: global options and the list of commands. Never what a command does.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::command;
use crate::manifest::duration_ms;
use crate::output::{Color, Format};

const EXAMPLES: &str = "Examples:
  skep up                       start the hive of ./hive.toml
  skep ps                       its agents and what they do
  skep call counter '{\"by\":1}'  ask an agent and print its reply
  skep explain E_NO_AGENT       what an error means and what to do
  skep demo                     watch it survive a crash, a swap and a kill -9";

/// A host for sandboxed WebAssembly agents.
#[derive(Debug, Parser)]
#[command(name = "skep", version, about, before_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    /// What all commands take.
    #[command(flatten)]
    pub global: Global,
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of all commands.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// How data is printed
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub output: Format,
    /// Tell errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Tell more: -v, -vv
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to use colors
    #[arg(long, global = true, value_enum, default_value_t)]
    pub color: Color,
    /// The data directory [default: SKEP_DATA, or .skep: beside the manifest for `up`, from here upward for others]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// How long the command may take, such as 500ms or 10s
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a doc here would stand in the help in place of the command's own")]
pub enum Command {
    Up(command::up::Args),
    Down(command::down::Args),
    Ps(command::ps::Args),
    Nodes(command::nodes::Args),
    Tree(command::tree::Args),
    Call(command::call::Args),
    Send(command::send::Args),
    Spawn(command::spawn::Args),
    Stop(command::stop::Args),
    Restart(command::restart::Args),
    Inspect(command::inspect::Args),
    Logs(command::logs::Args),
    Events(command::events::Args),
    #[command(subcommand)]
    DeadLetters(command::dead_letters::Sub),
    Swap(command::swap::Args),
    #[command(subcommand)]
    Session(command::session::Sub),
    #[command(subcommand)]
    Protocol(command::protocol::Sub),
    Check(command::check::Args),
    Build(command::build::Args),
    Explain(command::explain::Args),
    Bench(command::bench::Args),
    Demo(command::demo::Args),
    Completions(command::completions::Args),
    Version(command::version::Args),
}

/// A duration with its unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match duration_ms(text) {
        Some(ms @ 1..) => Ok(Duration::from_millis(ms)),
        _ => Err("a duration is a number and a unit: 500ms, 5s, 10m or 1h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_before_its_help() {
        fn walk(command: &clap::Command) {
            let has_subcommands = command.get_subcommands().next().is_some();
            let example = command.get_before_help().map(ToString::to_string).unwrap_or_default();
            assert!(has_subcommands || example.starts_with("Example"), "{}", command.get_name());
            assert!(command.get_about().is_some(), "{}", command.get_name());
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }

    const MANUAL: &str = include_str!("../../../docs/cli.md");

    /// The first words in backticks of the rows of the table under a heading.
    fn rows(heading: &str) -> Vec<&'static str> {
        let (_, rest) = MANUAL.split_once(heading).unwrap();
        let table = rest.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        table.skip(2).map(|row| row.trim_start_matches("| ").split(" |").next().unwrap()).collect()
    }

    #[test]
    fn the_manual_has_every_command_and_no_other() {
        let command = Cli::command();
        let commands: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        let rows = rows("# The command line");
        let named: Vec<&str> = rows.iter().map(|row| row.trim_matches('`').split([' ', '`']).next().unwrap()).collect();
        assert_eq!(named, commands);
        let letters = command.find_subcommand("dead-letters").unwrap();
        for inner in letters.get_subcommands().map(clap::Command::get_name) {
            assert!(rows.iter().any(|row| row.contains("dead-letters") && row.contains(inner)), "{inner}");
        }
    }

    #[test]
    fn the_manual_has_every_exit_code_with_its_meaning() {
        let rows = rows("## Exit codes");
        let codes: Vec<String> = crate::exit::Exit::ALL.iter().map(|exit| (*exit as u8).to_string()).collect();
        assert_eq!(rows[..codes.len()], codes);
    }

    #[test]
    fn the_manual_has_every_route() {
        let routes = include_str!("api/routes.rs").split(".route(\"").skip(1);
        for route in routes {
            let path = route.split('"').next().unwrap().replace("{agent}", "NAME").replace("{id}", "ID");
            assert!(rows("## The API").iter().any(|row| row.contains(&format!(" {path}"))), "{path}");
        }
    }

    #[test]
    fn durations_need_a_unit_and_a_length() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("5").is_err() && duration("0s").is_err());
    }
}
