//! The numbers: what each is called, its unit, its control, and the bar that it is held against. Never how it is measured.

use crate::failure::{Failure, Outcome};

use crate::api::types::Better;

/// A number and what it is held against.
#[derive(Debug)]
pub(super) struct Number {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// The number without Skep that it is divided by, if there is one.
    pub(super) control: Option<&'static str>,
    /// The bar, if there is one: what the ratio to the control has to keep.
    pub(super) factor: Option<f64>,
    /// What is measured, for people.
    pub(super) what: &'static str,
}

impl Number {
    pub(super) fn better(&self) -> Better {
        if self.name.ends_with("_per_s") { Better::Higher } else { Better::Lower }
    }

    /// The better one of two figures, or of two ratios.
    pub(super) fn best(&self, one: f64, other: f64) -> f64 {
        match self.better() {
            Better::Lower => one.min(other),
            Better::Higher => one.max(other),
        }
    }

    /// Whether a ratio keeps the bar, if there is one.
    pub(super) fn keeps(&self, ratio: f64) -> Option<bool> {
        self.factor.map(|factor| match self.better() {
            Better::Lower => ratio <= factor,
            Better::Higher => ratio >= factor,
        })
    }

    /// The bar, for people.
    pub(super) fn bar_text(&self) -> Option<String> {
        let sign = if self.better() == Better::Lower { "<=" } else { ">=" };
        self.control.zip(self.factor).map(|(control, factor)| format!("{sign} {factor} x {control}"))
    }
}

/// With nothing beside it: a control, or a number that has none.
const fn plain(name: &'static str, unit: &'static str, what: &'static str) -> Number {
    Number { name, unit, control: None, factor: None, what }
}

/// Beside its control, without a bar.
const fn beside(name: &'static str, unit: &'static str, control: &'static str, what: &'static str) -> Number {
    Number { name, unit, control: Some(control), factor: None, what }
}

const fn barred(
    name: &'static str,
    unit: &'static str,
    factor: f64,
    control: &'static str,
    what: &'static str,
) -> Number {
    Number { name, unit, control: Some(control), factor: Some(factor), what }
}

/// All of them: each control before what is held against it.
pub(super) const ALL: [Number; 29] = [
    plain("raw_call", "ns", "bare wasmtime: enter a guest with one message of 64 B"),
    barred("ask", "ns", 4.0, "raw_call", "the program asks an agent and has its 64 B back, one at a time"),
    plain("raw_batch64", "ns", "bare wasmtime: a message in a typed batch of 64"),
    barred("tell", "ns", 4.0, "raw_batch64", "an agent sends 64 B to an agent, until the last is handled"),
    plain("ask_agents", "ns", "an agent asks an agent, one at a time"),
    plain("raw_ring", "ns", "bare wasmtime: 1,000 instances entered in turn, one send each"),
    barred("ring_hop", "ns", 3.0, "raw_ring", "one message around 1,000 agents, a hop"),
    plain("raw_spawn_us", "us", "bare wasmtime: instantiate, enter once"),
    barred("spawn_us", "us", 3.0, "raw_spawn_us", "a new agent, to its first reply"),
    plain("raw_restart_us", "us", "bare wasmtime: trap, drop, instantiate, enter"),
    beside("restart_us", "us", "raw_restart_us", "an agent traps, until it answers again"),
    plain("raw_store_per_s", "1/s", "the store's library: the rows of a turn, 256 turns in a transaction"),
    barred(
        "durable_turns_per_s",
        "1/s",
        0.4,
        "raw_store_per_s",
        "1,000 durable agents: message in, 200 B written, message out",
    ),
    plain("commit_p50_us", "us", "the median of their commits"),
    plain("commit_p99_us", "us", "99 of 100 of their commits took no longer"),
    plain("fdatasync_us", "us", "the disk: append 200 B to a file and sync it"),
    barred(
        "durable_ask_us",
        "us",
        3.0,
        "fdatasync_us",
        "the program asks a durable agent that writes 200 B, one at a time",
    ),
    plain("swap_pause_us", "us", "an agent does not run while its plugin is swapped and messages flow"),
    plain("raw_step_us", "us", "bare wasmtime: instantiate a protocol, one step of an auction of 100"),
    beside("step_us", "us", "raw_step_us", "the same step in the sandbox of protocols, with its fuel and its checks"),
    plain("session_100_ms", "ms", "a second-price auction of 100 agents, from its opening to its outcome, on the disk"),
    plain(
        "raw_nats_tell_per_s",
        "1/s",
        "async-nats: 64 B published on a connection, until all are received on another",
    ),
    beside(
        "host_tell_per_s",
        "1/s",
        "raw_nats_tell_per_s",
        "an agent sends 64 B to an agent of another host, until the last is handled",
    ),
    plain("raw_jetstream_per_s", "1/s", "async-nats: 64 B written to a stream, one at a time: each is on the disk"),
    beside("host_tell_process_per_s", "1/s", "raw_jetstream_per_s", "the same between agents that outlive their hosts"),
    plain("raw_nats_request_us", "us", "async-nats: a request of 64 B and its reply from another connection"),
    beside("host_ask_us", "us", "raw_nats_request_us", "an agent asks an agent of another host, one at a time"),
    plain("raw_idle_kib", "KiB", "bare wasmtime: an instance after one message"),
    beside("idle_agent_kib", "KiB", "raw_idle_kib", "an agent after one message"),
];

/// The numbers that were asked for, in order; without a name all of them.
pub(super) fn asked_for(only: &[String]) -> Outcome<Vec<&'static Number>> {
    let known = |name: &String| ALL.iter().find(|number| number.name == name);
    if let Some(unknown) = only.iter().find(|name| known(name).is_none()) {
        let names: Vec<&str> = ALL.iter().map(|number| number.name).collect();
        let unknown = skep_core::name::shown(unknown, 64);
        return Err(Failure::usage(format!("there is no number {unknown}")).with_help(names.join(", ")));
    }
    Ok(ALL.iter().filter(|number| only.is_empty() || only.iter().any(|name| name == number.name)).collect())
}

/// The same numbers and their controls, in order.
pub(super) fn with_controls(numbers: &[&Number]) -> Vec<&'static Number> {
    let has = |name: &str| numbers.iter().any(|number| number.name == name || number.control == Some(name));
    ALL.iter().filter(|number| has(number.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str]) -> Vec<&'static str> {
        let only: Vec<String> = only.iter().map(ToString::to_string).collect();
        with_controls(&asked_for(&only).unwrap()).iter().map(|number| number.name).collect()
    }

    #[test]
    fn a_number_brings_its_control_along() {
        assert_eq!(names(&["ask"]), ["raw_call", "ask"]);
        assert_eq!(names(&["restart_us"]), ["raw_restart_us", "restart_us"], "without a bar too");
        assert_eq!(names(&["swap_pause_us", "raw_ring"]), ["raw_ring", "swap_pause_us"]);
        assert_eq!(names(&[]).len(), ALL.len());
    }

    #[test]
    fn refuses_a_number_that_there_is_not() {
        assert_eq!(asked_for(&["aks".to_owned()]).unwrap_err().code, "E_USAGE");
    }

    #[test]
    fn every_control_is_a_number_before_it_in_the_same_unit() {
        for (at, number) in ALL.iter().enumerate() {
            let before = |name| ALL[..at].iter().any(|other| other.name == name && other.unit == number.unit);
            assert!(number.control.is_none_or(before), "{}", number.name);
            assert!(number.factor.is_none() || number.control.is_some(), "{}", number.name);
        }
    }

    #[test]
    fn a_bar_is_kept_on_the_side_that_is_better() {
        let number = |name: &str| ALL.iter().find(|number| number.name == name).unwrap();
        assert_eq!((number("ask").keeps(4.0), number("ask").keeps(4.01)), (Some(true), Some(false)));
        let turns = number("durable_turns_per_s");
        assert_eq!((turns.keeps(0.4), turns.keeps(0.39)), (Some(true), Some(false)));
        assert_eq!(number("restart_us").keeps(1.0), None);
        assert_eq!(number("ask").bar_text().unwrap(), "<= 4 x raw_call");
    }
}
