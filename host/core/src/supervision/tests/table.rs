//! OTP's truth table: restart type and reason.

use crate::exit::ExitReason;
use crate::spec::{Restart, Strategy};

use super::kit::*;

fn reasons() -> [(ExitReason, bool); 9] {
    [
        (ExitReason::Normal, true),
        (ExitReason::Shutdown, true),
        (ExitReason::ShutdownBecause("x".into()), true),
        (ExitReason::Error("x".into()), false),
        (ExitReason::Killed, false),
        (ExitReason::CrashLoop, false),
        (ExitReason::TurnFailed("x".into()), false),
        (ExitReason::StateUnreadable("x".into()), false),
        (ExitReason::Linked(Box::new(ExitReason::Killed)), false),
    ]
}

fn check(restart: Restart, expect: impl Fn(bool) -> &'static [&'static str]) {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        for (reason, is_ordinary) in reasons() {
            let mut world = World::up(sup("root", strategy, [agent("a").restart(restart)]));
            world.exit("a", reason.clone());
            assert_eq!(world.log(), expect(is_ordinary), "{strategy:?} {restart:?} {reason}");
        }
    }
}

#[test]
fn a_permanent_child_is_always_restarted() {
    check(Restart::Permanent, |_| &["restarting a 1", "start a"]);
}

#[test]
fn a_transient_child_is_restarted_unless_it_ended_ordinarily() {
    check(Restart::Transient, |is_ordinary| if is_ordinary { &["resting a"] } else { &["restarting a 1", "start a"] });
}

#[test]
fn a_temporary_child_is_never_restarted_and_its_spec_is_removed() {
    check(Restart::Temporary, |_| &["gone a"]);
}

#[test]
fn a_dynamic_supervisor_forgets_whatever_ended_for_good() {
    for (restart, expect) in [
        (Restart::Permanent, ["restarting a 1", "start a"].as_slice()),
        (Restart::Transient, &["gone a"]),
        (Restart::Temporary, &["gone a"]),
    ] {
        let mut world = World::up(sup("root", Strategy::Dynamic, [agent("a").restart(restart)]));
        world.exit("a", ExitReason::Normal);
        assert_eq!(world.log(), expect, "{restart:?}");
    }
}
