//! The numbers: what each is called, its unit, and the bar that it is held against. Never how it is measured.

use crate::failure::{Failure, Outcome};

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    /// Times and sizes.
    Lower,
    /// Rates.
    Higher,
}

/// A number and its bar.
#[derive(Debug)]
pub(super) struct Number {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// The control beside it and the factor that Skep has to keep, if there is a bar.
    pub(super) bar: Option<(&'static str, f64)>,
    /// What is measured, for people.
    pub(super) what: &'static str,
}

impl Number {
    pub(super) fn better(&self) -> Better {
        if self.name.ends_with("_per_s") { Better::Higher } else { Better::Lower }
    }

    /// Whether the bar is kept.
    pub(super) fn keeps(&self, value: f64, control: f64, factor: f64) -> bool {
        match self.better() {
            Better::Lower => value <= factor * control,
            Better::Higher => value >= factor * control,
        }
    }

    /// The bar, for people.
    pub(super) fn bar_text(&self) -> Option<String> {
        let sign = if self.better() == Better::Lower { "<=" } else { ">=" };
        self.bar.map(|(control, factor)| format!("{sign} {factor} x {control}"))
    }
}

const fn control(name: &'static str, unit: &'static str, what: &'static str) -> Number {
    Number { name, unit, bar: None, what }
}

const fn barred(
    name: &'static str,
    unit: &'static str,
    factor: f64,
    control: &'static str,
    what: &'static str,
) -> Number {
    Number { name, unit, bar: Some((control, factor)), what }
}

/// All of them: each control before what is held against it.
pub(super) const ALL: [Number; 20] = [
    control("raw_call", "ns", "bare wasmtime: enter a guest with one message of 64 B"),
    barred("ask", "ns", 4.0, "raw_call", "the program asks an agent and has its 64 B back, one at a time"),
    control("raw_batch64", "ns", "bare wasmtime: a message in a typed batch of 64"),
    barred("tell", "ns", 4.0, "raw_batch64", "an agent sends 64 B to an agent, until the last is handled"),
    control("ask_agents", "ns", "an agent asks an agent, one at a time"),
    control("raw_ring", "ns", "bare wasmtime: 1,000 instances entered in turn, one send each"),
    barred("ring_hop", "ns", 3.0, "raw_ring", "one message around 1,000 agents, a hop"),
    control("raw_spawn_us", "us", "bare wasmtime: instantiate, enter once, drop"),
    barred("spawn_us", "us", 3.0, "raw_spawn_us", "a new agent, to its first reply"),
    control("raw_restart_us", "us", "bare wasmtime: trap, drop, instantiate, enter"),
    control("restart_us", "us", "an agent traps, until it answers again"),
    control("raw_store_per_s", "1/s", "the store's library: the rows of a turn, 256 turns in a transaction"),
    barred(
        "durable_turns_per_s",
        "1/s",
        0.4,
        "raw_store_per_s",
        "1,000 durable agents: message in, 200 B written, message out",
    ),
    control("commit_p50_us", "us", "the median of their commits"),
    control("commit_p99_us", "us", "99 of 100 of their commits took no longer"),
    control("fdatasync_us", "us", "the disk: append 200 B to a file and sync it"),
    barred(
        "durable_ask_us",
        "us",
        3.0,
        "fdatasync_us",
        "the program asks a durable agent that writes 200 B, one at a time",
    ),
    control("swap_pause_us", "us", "an agent does not run while its plugin is swapped and messages flow"),
    control("raw_idle_kib", "KiB", "bare wasmtime: an instance after one message"),
    control("idle_agent_kib", "KiB", "an agent after one message"),
];

/// The numbers that were asked for, with the controls of their bars, in order.
pub(super) fn wanted(only: &[String]) -> Outcome<Vec<&'static Number>> {
    let known = |name: &String| ALL.iter().find(|number| number.name == name);
    if let Some(unknown) = only.iter().find(|name| known(name).is_none()) {
        let names: Vec<&str> = ALL.iter().map(|number| number.name).collect();
        let unknown = skep_core::name::shown(unknown, 64);
        return Err(Failure::usage(format!("there is no number {unknown}")).with_help(names.join(", ")));
    }
    let asked = |name: &str| only.is_empty() || only.iter().any(|other| other == name);
    let holds = |name: &str| ALL.iter().any(|number| asked(number.name) && number.bar.is_some_and(|bar| bar.0 == name));
    Ok(ALL.iter().filter(|number| asked(number.name) || holds(number.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str]) -> Vec<&'static str> {
        let only: Vec<String> = only.iter().map(ToString::to_string).collect();
        wanted(&only).unwrap().iter().map(|number| number.name).collect()
    }

    #[test]
    fn a_number_brings_its_control_along() {
        assert_eq!(names(&["ask"]), ["raw_call", "ask"]);
        assert_eq!(names(&["swap_pause_us", "raw_ring"]), ["raw_ring", "swap_pause_us"]);
        assert_eq!(names(&[]).len(), ALL.len());
    }

    #[test]
    fn refuses_a_number_that_there_is_not() {
        assert_eq!(wanted(&["aks".to_owned()]).unwrap_err().code, "E_USAGE");
    }

    #[test]
    fn every_bar_names_a_number_before_it() {
        for (at, number) in ALL.iter().enumerate() {
            let before = |name: &str| ALL[..at].iter().any(|other| other.name == name);
            assert!(number.bar.is_none_or(|(control, _)| before(control)), "{}", number.name);
        }
    }

    #[test]
    fn a_bar_is_kept_on_the_side_that_is_better() {
        let number = |name: &str| ALL.iter().find(|number| number.name == name).unwrap();
        assert!(number("ask").keeps(400.0, 100.0, 4.0) && !number("ask").keeps(401.0, 100.0, 4.0));
        assert!(number("durable_turns_per_s").keeps(40.0, 100.0, 0.4));
        assert!(!number("durable_turns_per_s").keeps(39.0, 100.0, 0.4));
        assert_eq!(number("ask").bar_text().unwrap(), "<= 4 x raw_call");
    }
}
