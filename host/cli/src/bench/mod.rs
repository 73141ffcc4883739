//! `skep bench`: every number that Skep promises, each beside a control in the same run: bare wasmtime, the store's
//! library or the disk doing the same work without Skep. Never a figure alone: what counts is the ratio of the two in one
//! round, where they are measured one right after the other.
//!
//! Reading order: `number` (names, units, controls, bars), `trial` (what yields them), `lab` (hives and directories), `control`,
//! `memory`, `durable`, `session` and `cluster` (how each is measured), `idle` (in processes of their own), `report`.

mod cluster;
mod control;
mod durable;
mod idle;
mod lab;
mod memory;
mod number;
mod place;
mod report;
mod session;
mod trial;

use std::path::PathBuf;
use std::time::Instant;

use crate::command::Context;
use crate::failure::{Failure, Outcome};
use crate::output::Bar;
use lab::Lab;
use report::Report;
use trial::Trial;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only these numbers, with their controls; empty is all of them.
    pub only: Vec<String>,
    /// Less of everything: for a look, not for a claim.
    pub quick: bool,
    /// The bench's guest, if not in a usual place.
    pub component: Option<PathBuf>,
    /// Where data directories are made, if not in the usual place.
    pub data: Option<PathBuf>,
    /// In this process, whatever the number, once and without its control: the bench has started itself.
    pub alone: bool,
}

/// How often everything is measured: the best figure counts, and the best ratio of a round.
const ROUNDS: u32 = 5;
const ROUNDS_QUICK: u32 = 2;

/// Measures and prints. A bar that is missed is told, and is no failure: this machine may be busy.
pub fn run(context: &Context, options: &Options) -> Outcome {
    let asked_for = number::asked_for(&options.only)?;
    let (wanted, rounds) = match (options.alone, options.quick) {
        (true, _) => (asked_for, 1),
        (false, true) => (number::with_controls(&asked_for), ROUNDS_QUICK),
        (false, false) => (number::with_controls(&asked_for), ROUNDS),
    };
    let mut lab = Lab::open(options)?;
    let mut trials: Vec<&Trial> = trial::ALL.iter().filter(|trial| trial.yields_any(&wanted)).collect();
    if trials.iter().any(|trial| trial.needs_server())
        && let Err(why) = lab.start_server()
    {
        context.output.note(&format!("the numbers of two hosts are left out: {why}"));
        trials.retain(|trial| !trial.needs_server());
    }
    let total = trials.iter().map(|trial| u64::from(trial.rounds(rounds))).sum();
    let bar = Bar::new(&context.output, "measuring", total);
    let began = Instant::now();
    let mut report = Report::default();
    for round in 0..rounds {
        report.begin_round();
        for trial in trials.iter().filter(|trial| round < trial.rounds(rounds)) {
            if context.timeout.is_some_and(|limit| began.elapsed() > limit) {
                return Err(Failure::new("E_COMMAND_TIMEOUT", "the bench was not done in time"));
            }
            bar.say(trial.names().join(", "));
            report.add(trial.names(), &trial.run(&lab)?);
            bar.advance(1);
        }
    }
    bar.clear();
    context.output.print(&report.document(&wanted))
}
