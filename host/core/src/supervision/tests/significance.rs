//! Significant children and auto_shutdown (OTP 24).

use crate::exit::ExitReason;
use crate::spec::{AutoShutdown, Restart, Strategy};

use super::super::Down;
use super::kit::*;

fn two(auto_shutdown: AutoShutdown, restart: Restart) -> World {
    let children = [agent("a").restart(restart).significant(), agent("b").restart(restart).significant(), agent("c")];
    World::up(sup("root", Strategy::OneForOne, children).auto(auto_shutdown))
}

#[test]
fn any_ends_with_the_first_significant_child_that_ends_by_itself() {
    let table = [
        (Restart::Transient, ExitReason::Normal, true),
        (Restart::Transient, ExitReason::Shutdown, true),
        (Restart::Transient, ExitReason::ShutdownBecause("x".into()), true),
        (Restart::Transient, crash(), false),
        (Restart::Transient, ExitReason::Killed, false),
        (Restart::Temporary, ExitReason::Normal, true),
        (Restart::Temporary, ExitReason::Shutdown, true),
        (Restart::Temporary, crash(), true),
        (Restart::Temporary, ExitReason::Killed, true),
    ];
    for (restart, reason, ends) in table {
        let mut world = two(AutoShutdown::AnySignificant, restart);
        world.exit("a", reason.clone());
        let down = ends.then_some((Down::Ended, ExitReason::Shutdown));
        assert_eq!(world.down, down, "{restart:?} {reason}");
        let expect = if ends { vec!["ended root", "stop c", "stop b"] } else { Vec::new() };
        assert_eq!(world.log_of(&["ended", "stop"]), expect);
    }
}

#[test]
fn all_ends_with_the_last() {
    for restart in [Restart::Transient, Restart::Temporary] {
        let mut world = two(AutoShutdown::AllSignificant, restart);
        world.exit("a", ExitReason::Normal);
        assert_eq!(world.down, None);
        world.log();
        world.exit("b", ExitReason::Normal);
        assert_eq!(world.log_of(&["ended", "stop", "down"]), ["ended root", "stop c", "down Ended shutdown"]);
    }
}

#[test]
fn all_waits_for_a_significant_child_that_is_about_to_be_restarted() {
    let children = ["a", "b"].map(|name| agent(name).restart(Restart::Transient).significant());
    let root = sup("root", Strategy::OneForOne, children).auto(AutoShutdown::AllSignificant).back_off(10, 10, 100);
    let mut world = World::up(root);
    world.exit("a", crash());
    world.exit("b", ExitReason::Normal);
    assert_eq!(world.down, None);
    world.after(10 * MS);
    world.exit("a", ExitReason::Normal);
    assert!(world.down.is_some());
}

#[test]
fn insignificant_children_end_nobody() {
    for auto in [AutoShutdown::AnySignificant, AutoShutdown::AllSignificant] {
        let children = [agent("a").restart(Restart::Temporary), agent("b").restart(Restart::Transient)];
        let mut world = World::up(sup("root", Strategy::OneForOne, children).auto(auto));
        world.exit("a", crash());
        world.exit("b", ExitReason::Normal);
        assert_eq!(world.down, None);
    }
}

#[test]
fn a_call_never_ends_the_supervisor() {
    for auto in [AutoShutdown::AnySignificant, AutoShutdown::AllSignificant] {
        for restart in [Restart::Transient, Restart::Temporary] {
            let mut world = two(auto, restart);
            world.call("terminate", "a").unwrap();
            world.call("terminate", "b").unwrap();
            assert_eq!(world.down, None);
        }
    }
}

#[test]
fn the_end_of_a_sibling_never_ends_the_supervisor() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let children = [agent("a"), agent("t").restart(Restart::Temporary).significant()];
        let mut world = World::up(sup("root", strategy, children).auto(AutoShutdown::AnySignificant));
        world.exit("a", crash());
        assert_eq!(world.log(), ["restarting a 1", "stop t", "gone t", "start a"]);
    }
}

#[test]
fn after_a_call_the_last_one_that_ends_by_itself_counts() {
    let mut world = two(AutoShutdown::AllSignificant, Restart::Transient);
    world.call("terminate", "a").unwrap();
    world.exit("b", ExitReason::Normal);
    assert!(world.down.is_some());
}

#[test]
fn a_supervisor_that_ended_is_an_ordinary_end_for_its_own() {
    for (restart, expect) in [
        (Restart::Transient, ["resting a", "ended inner", "resting inner", "resting a"].as_slice()),
        (Restart::Temporary, &["resting a", "ended inner", "gone a", "gone inner"]),
        (Restart::Permanent, &["resting a", "ended inner", "restarting inner 1", "start a"]),
    ] {
        let child = agent("a").restart(Restart::Transient).significant();
        let inner = sup("inner", Strategy::OneForOne, [child]).auto(AutoShutdown::AnySignificant);
        let mut world = World::up(sup("root", Strategy::OneForOne, [inner.restart(restart)]));
        world.exit("a", ExitReason::Normal);
        assert_eq!(world.log(), expect);
    }
}

#[test]
fn ends_ripple_up_through_significant_supervisors() {
    let child = agent("a").restart(Restart::Transient).significant();
    let inner = sup("inner", Strategy::OneForOne, [child]).auto(AutoShutdown::AnySignificant);
    let inner = inner.restart(Restart::Transient).significant();
    let root = sup("root", Strategy::OneForOne, [inner, agent("b")]).auto(AutoShutdown::AnySignificant);
    let mut world = World::up(root);
    world.exit("a", ExitReason::Normal);
    assert_eq!(
        world.log_of(&["ended", "stop", "down"]),
        ["ended inner", "ended root", "stop b", "down Ended shutdown"]
    );
}
