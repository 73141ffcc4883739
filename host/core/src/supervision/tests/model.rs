//! One-for-one against a second, naive implementation that shares nothing with the first.

use proptest::prelude::*;

use crate::exit::ExitReason;
use crate::spec::{Restart, Strategy};

use super::kit::*;

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Runs,
    Rests,
    Gone,
}

/// Keeps every restart for ever and counts by looking at all.
struct Model {
    intensity: usize,
    period_ns: u64,
    restarts_ns: Vec<u64>,
    children: Vec<(Restart, Place)>,
}

impl Model {
    fn exit(&mut self, index: usize, reason: &ExitReason, now_ns: u64) -> Vec<String> {
        let (restart, _) = self.children[index];
        let ordinary = ["normal", "shutdown"].contains(&reason.word());
        let comes_back = restart == Restart::Permanent || (restart == Restart::Transient && !ordinary);
        if !comes_back {
            let is_gone = restart == Restart::Temporary;
            self.children[index].1 = if is_gone { Place::Gone } else { Place::Rests };
            return vec![format!("{} a{index}", if is_gone { "gone" } else { "resting" })];
        }
        self.restarts_ns.push(now_ns);
        let within = self.restarts_ns.iter().filter(|&&time_ns| now_ns - time_ns <= self.period_ns).count();
        if within <= self.intensity {
            return vec![format!("restarting a{index} {within}"), format!("start a{index}")];
        }
        self.children[index].1 = Place::Rests;
        let mut lines = vec!["escalated root".to_owned()];
        let running = (0..self.children.len()).rev().filter(|&other| self.children[other].1 == Place::Runs);
        lines.extend(running.map(|other| format!("stop a{other}")));
        lines.push("down Escalated shutdown".to_owned());
        lines
    }
}

fn restart() -> impl proptest::strategy::Strategy<Value = Restart> {
    prop_oneof![4 => Just(Restart::Permanent), 2 => Just(Restart::Transient), 1 => Just(Restart::Temporary)]
}

fn reason() -> impl proptest::strategy::Strategy<Value = ExitReason> {
    prop_oneof![Just(ExitReason::Normal), Just(ExitReason::Shutdown), Just(ExitReason::Killed), Just(crash())]
}

proptest! {
    #[test]
    fn one_for_one_agrees_with_a_naive_model(
        intensity in 0u32..6,
        period_ms in 1u32..20,
        types in prop::collection::vec(restart(), 1..6),
        steps in prop::collection::vec((0usize..6, reason(), 0u64..8_000_000), 0..60),
    ) {
        let children: Vec<_> = types.iter().enumerate().map(|(n, &it)| agent(&format!("a{n}")).restart(it)).collect();
        let mut world = World::up(sup("root", Strategy::OneForOne, children).intensity(intensity, period_ms));
        let mut model = Model {
            intensity: intensity as usize,
            period_ns: u64::from(period_ms) * MS,
            restarts_ns: Vec::new(),
            children: types.iter().map(|&it| (it, Place::Runs)).collect(),
        };
        for (index, reason, wait_ns) in steps {
            world.after(wait_ns);
            if world.down.is_some() || model.children.get(index).is_none_or(|child| child.1 != Place::Runs) {
                continue;
            }
            world.exit(&format!("a{index}"), reason.clone());
            prop_assert_eq!(world.log(), model.exit(index, &reason, world.now_ns));
        }
    }
}
