//! The trials: each yields one number or a few. A control stands right before what it is the control of, so that both
//! meet the same machine. Never how a figure is taken or judged.

use super::lab::Lab;
use super::number::Number;
use super::{cluster, control, durable, idle, memory, session};
use crate::failure::Outcome;

type Sample = fn(&Lab) -> Outcome<Vec<f64>>;

/// See the module.
pub(super) struct Trial {
    names: &'static [&'static str],
    sample: Sample,
    /// It is measured in half of the rounds.
    half: bool,
    /// It takes a NATS server.
    server: bool,
}

impl Trial {
    pub(super) fn names(&self) -> &'static [&'static str] {
        self.names
    }

    pub(super) fn yields_any(&self, wanted: &[&Number]) -> bool {
        wanted.iter().any(|number| self.names.contains(&number.name))
    }

    pub(super) fn needs_server(&self) -> bool {
        self.server
    }

    pub(super) fn rounds(&self, rounds: u32) -> u32 {
        if self.half { rounds.div_ceil(2) } else { rounds }
    }

    /// One value for each name.
    pub(super) fn run(&self, lab: &Lab) -> Outcome<Vec<f64>> {
        (self.sample)(lab)
    }
}

const fn trial(names: &'static [&'static str], sample: Sample) -> Trial {
    Trial { names, sample, half: false, server: false }
}

/// Of memory, which varies less than time and takes a process for each figure.
const fn half(names: &'static [&'static str], sample: Sample) -> Trial {
    Trial { half: true, ..trial(names, sample) }
}

/// Between two hosts, which takes seconds.
const fn served(names: &'static [&'static str], sample: Sample) -> Trial {
    Trial { server: true, ..half(names, sample) }
}

/// All of them, in the order in which a round makes them.
pub(super) static ALL: [Trial; 27] = [
    half(&["raw_idle_kib"], idle::raw_idle_kib),
    half(&["idle_agent_kib"], idle::idle_agent_kib),
    trial(&["raw_call"], control::raw_call),
    trial(&["ask"], memory::ask),
    trial(&["raw_batch64"], control::raw_batch64),
    trial(&["tell"], memory::tell),
    trial(&["ask_agents"], memory::ask_agents),
    trial(&["raw_ring"], control::raw_ring),
    trial(&["ring_hop"], memory::ring_hop),
    trial(&["raw_spawn_us"], control::raw_spawn_us),
    trial(&["spawn_us"], memory::spawn_us),
    trial(&["raw_restart_us"], control::raw_restart_us),
    trial(&["restart_us"], memory::restart_us),
    trial(&["raw_store_per_s"], control::raw_store_per_s),
    trial(&["durable_turns_per_s", "commit_p50_us", "commit_p99_us"], durable::turns),
    trial(&["fdatasync_us"], control::fdatasync_us),
    trial(&["durable_ask_us"], durable::ask_us),
    trial(&["swap_pause_us"], durable::swap_pause_us),
    trial(&["raw_step_us"], session::raw_step_us),
    trial(&["step_us"], session::step_us),
    trial(&["session_100_ms"], session::session_100_ms),
    served(&["raw_nats_tell_per_s"], cluster::raw_nats_tell_per_s),
    served(&["host_tell_per_s"], cluster::tell_per_s),
    served(&["raw_jetstream_per_s"], cluster::raw_jetstream_per_s),
    served(&["host_tell_process_per_s"], cluster::tell_process_per_s),
    served(&["raw_nats_request_us"], cluster::raw_nats_request_us),
    served(&["host_ask_us"], cluster::ask_us),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::number;

    #[test]
    fn every_number_has_one_trial() {
        for number in &number::ALL {
            assert_eq!(ALL.iter().filter(|trial| trial.yields_any(&[number])).count(), 1, "{}", number.name);
        }
    }

    #[test]
    fn a_control_is_measured_right_before_its_number_in_as_many_rounds() {
        let of = |name: &str| ALL.iter().position(|trial| trial.names.contains(&name)).unwrap();
        for number in &number::ALL {
            let Some(control) = number.control else { continue };
            assert_eq!(of(control) + 1, of(number.name), "{}", number.name);
            assert_eq!(ALL[of(control)].rounds(9), ALL[of(number.name)].rounds(9), "{}", number.name);
        }
    }

    #[test]
    fn every_trial_yields_numbers_that_there_are() {
        for name in ALL.iter().flat_map(Trial::names) {
            assert!(number::ALL.iter().any(|number| number.name == *name), "{name}");
        }
    }
}
