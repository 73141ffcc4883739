//! Escalation through levels.

use crate::exit::ExitReason;
use crate::spec::{Restart, Strategy};

use super::super::{Down, Status};
use super::kit::*;

#[test]
fn the_intensities_of_levels_multiply() {
    let inner = sup("inner", Strategy::OneForOne, [agent("a")]).intensity(9, 3_600_000);
    let root = sup("root", Strategy::OneForOne, [inner.into()]).intensity(9, 3_600_000);
    let mut world = World::up(root);
    let mut ends = 0;
    while world.down.is_none() {
        world.exit("a", crash());
        ends += 1;
    }
    assert_eq!(ends, 100, "each of 10 lives of the inner supervisor takes 10 ends of its child");
    let log = world.log();
    let count = |line: &str| log.iter().filter(|it| it.starts_with(line)).count();
    assert_eq!((count("start a"), count("escalated inner"), count("escalated root")), (99, 10, 1));
}

#[test]
fn a_permanent_supervisor_that_gave_up_is_restarted_with_an_empty_window() {
    let inner = sup("inner", Strategy::OneForOne, ["a", "b"].map(agent));
    let mut world = World::up(sup("root", Strategy::OneForOne, [inner.into(), agent("c")]));
    world.exit("a", crash());
    world.exit("a", crash());
    let expect = ["restarting a 1", "start a", "escalated inner", "stop b", "restarting inner 1", "start a", "start b"];
    assert_eq!(world.log(), expect);
    world.exit("b", crash());
    assert_eq!(world.log(), ["restarting b 1", "start b"]);
}

#[test]
fn a_transient_supervisor_that_gave_up_is_not_restarted() {
    let inner = sup("inner", Strategy::OneForOne, ["a", "b"].map(agent)).intensity(0, 1).restart(Restart::Transient);
    let mut world = World::up(sup("root", Strategy::OneForOne, [inner, agent("c")]));
    world.exit("a", crash());
    let expect = ["escalated inner", "stop b", "resting inner", "resting a", "resting b"];
    assert_eq!(world.log(), expect);
    assert_eq!(world.status("c"), Some(Status::Running));
    assert_eq!(world.add("inner", agent("x")), Err("E_SUPERVISOR_DOWN".into()));
    assert_eq!(world.call("restart", "a"), Err("E_SUPERVISOR_DOWN".into()));
    world.call("restart", "inner").unwrap();
    assert_eq!(world.log(), ["start a", "start b"]);
}

#[test]
fn a_temporary_supervisor_that_gave_up_is_gone_with_all_below_it() {
    let inner = sup("inner", Strategy::OneForOne, ["a", "b"].map(agent)).intensity(0, 1).restart(Restart::Temporary);
    let mut world = World::up(sup("root", Strategy::OneForOne, [inner]));
    world.exit("a", crash());
    assert_eq!(world.log(), ["escalated inner", "stop b", "gone b", "gone a", "gone inner"]);
    assert_eq!(world.tree.count(), 1);
}

#[test]
fn an_escalation_takes_along_the_group_of_its_supervisor() {
    let inner = sup("inner", Strategy::OneForOne, [agent("b")]).intensity(0, 1);
    let mut world = World::up(sup("root", Strategy::OneForAll, [agent("a"), inner.into(), agent("c")]));
    world.exit("b", crash());
    let expect = ["escalated inner", "restarting inner 1", "stop c", "stop a", "start a", "start b", "start c"];
    assert_eq!(world.log(), expect);
}

#[test]
fn a_supervisor_that_fails_to_restart_is_tried_again_and_counts() {
    let inner = sup("inner", Strategy::OneForOne, ["a", "b"].map(agent)).intensity(0, 1);
    let mut world = World::up(sup("root", Strategy::OneForOne, [inner.into()]).intensity(2, 5_000));
    world.fails.insert("b".into(), 1);
    world.exit("a", crash());
    let expect = [
        "escalated inner",
        "stop b",
        "restarting inner 1",
        "start a",
        "start b",
        "stop a",
        "restarting inner 2",
        "start a",
        "start b",
    ];
    assert_eq!(world.log(), expect);
}

#[test]
fn the_root_gives_up_only_when_all_below_it_are_stopped() {
    let inner = sup("inner", Strategy::OneForOne, ["b", "c"].map(agent));
    let mut world = World::up(sup("root", Strategy::OneForOne, [inner.into(), agent("d")]).intensity(0, 1)).manual();
    world.exit("d", crash());
    assert_eq!(world.log(), ["escalated root", "stop c"]);
    world.stopped("c");
    assert_eq!(world.down, None);
    world.stopped("b");
    assert_eq!(world.down, Some((Down::Escalated, ExitReason::Shutdown)));
}

#[test]
fn an_escalation_while_its_supervisor_is_busy_is_absorbed() {
    let inner = sup("inner", Strategy::OneForOne, [agent("b")]).intensity(0, 1);
    let mut world = World::up(sup("root", Strategy::OneForAll, [inner.into(), agent("a"), agent("c")])).manual();
    world.exit("a", crash());
    world.exit("b", crash());
    world.stopped("c");
    assert_eq!(world.log(), ["restarting a 1", "stop c", "escalated inner", "start b"]);
}

#[test]
fn thousands_of_empty_supervisors_take_no_stack() {
    let children = (0..20_000).map(|n| sup(&format!("s{n}"), Strategy::OneForOne, []).into());
    let mut tree = super::super::Tree::new(&sup("root", Strategy::OneForOne, children)).unwrap();
    assert_eq!(tree.start(0), [super::super::Action::HiveUp]);
    assert_eq!(tree.shutdown(0).len(), 1);
}
