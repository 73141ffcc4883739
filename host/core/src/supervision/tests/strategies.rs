//! Whom a restart concerns, in which order, and what happens meanwhile.

use crate::exit::ExitReason;
use crate::spec::{Restart, Strategy};

use super::super::Status;
use super::kit::*;

fn abc(strategy: Strategy) -> World {
    World::up(sup("root", strategy, ["a", "b", "c"].map(agent)).intensity(10, 5_000))
}

#[test]
fn one_for_one_restarts_the_dead_child_only() {
    let mut world = abc(Strategy::OneForOne);
    world.exit("b", crash());
    assert_eq!(world.log(), ["restarting b 1", "start b"]);
}

#[test]
fn one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() {
    let mut world = abc(Strategy::OneForAll);
    world.exit("b", crash());
    assert_eq!(world.log(), ["restarting b 1", "stop c", "stop a", "start a", "start b", "start c"]);
}

#[test]
fn rest_for_one_stops_the_later_ones_in_reverse_and_starts_them_with_the_dead() {
    let mut world = abc(Strategy::RestForOne);
    world.exit("b", crash());
    assert_eq!(world.log(), ["restarting b 1", "stop c", "start b", "start c"]);
    world.exit("a", crash());
    assert_eq!(world.log(), ["restarting a 2", "stop c", "stop b", "start a", "start b", "start c"]);
}

#[test]
fn a_group_waits_for_each_stop_and_each_start() {
    let mut world = abc(Strategy::OneForAll).manual();
    world.exit("a", crash());
    assert_eq!(world.log(), ["restarting a 1", "stop c"]);
    world.stopped("c");
    assert_eq!(world.log(), ["stop b"]);
    world.stopped("b");
    assert_eq!(world.log(), ["start a"]);
    assert_eq!(world.status("a"), Some(Status::Restarting));
    world.started("a");
    assert_eq!(world.log(), ["start b"]);
    world.started("b");
    assert_eq!(world.log(), ["start c"]);
    world.started("c");
    assert_eq!(world.status("c"), Some(Status::Running));
}

#[test]
fn temporary_siblings_are_stopped_and_never_come_back() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let children = [agent("a"), agent("t").restart(Restart::Temporary), agent("c")];
        let mut world = World::up(sup("root", strategy, children));
        world.exit("a", crash());
        assert_eq!(world.log(), ["restarting a 1", "stop c", "stop t", "gone t", "start a", "start c"]);
    }
}

#[test]
fn an_exit_that_a_group_restart_absorbs_does_not_count() {
    let mut world = abc(Strategy::OneForAll).manual();
    world.exit("a", crash());
    world.exit("b", crash());
    world.stopped("c");
    assert_eq!(world.log(), ["restarting a 1", "stop c", "start a"]);
    world.started("a");
    world.started("b");
    world.started("c");
    assert_eq!(world.log(), ["start b", "start c"], "and is not looked at afterwards");
}

#[test]
fn a_child_that_ends_while_it_is_stopped_is_stopped() {
    let mut world = abc(Strategy::OneForAll).manual();
    world.exit("a", crash());
    let c = world.id("c");
    world.lives.insert(c, Life::Running);
    world.exit_id(c, crash());
    assert_eq!(world.log(), ["restarting a 1", "stop c", "stop b"]);
}

#[test]
fn an_exit_left_of_the_group_is_looked_at_after_its_restart() {
    let mut world = abc(Strategy::RestForOne).manual();
    world.exit("b", crash());
    world.exit("a", crash());
    world.stopped("c");
    world.started("b");
    assert_eq!(world.log(), ["restarting b 1", "stop c", "start b", "start c"]);
    world.started("c");
    assert_eq!(world.log(), ["restarting a 2", "stop c"]);
}

#[test]
fn a_restart_of_a_group_starts_its_children_at_rest_too() {
    let mut world = abc(Strategy::OneForAll);
    world.call("terminate", "b").unwrap();
    assert_eq!(world.log(), ["stop b", "resting b"]);
    world.exit("a", crash());
    assert_eq!(world.log(), ["restarting a 1", "stop c", "start a", "start b", "start c"]);
}

#[test]
fn a_failed_attempt_of_a_group_counts_again_and_begins_from_the_failed_one() {
    let mut world = abc(Strategy::RestForOne);
    world.fails.insert("b".into(), 1);
    world.exit("a", crash());
    let expect = ["restarting a 1", "stop c", "stop b", "start a", "start b", "restarting b 2", "start b", "start c"];
    assert_eq!(world.log(), expect);
}

#[test]
fn a_failed_attempt_under_one_for_all_stops_those_that_had_started() {
    let mut world = abc(Strategy::OneForAll);
    world.fails.insert("c".into(), 1);
    world.exit("b", crash());
    let expect = [
        "restarting b 1",
        "stop c",
        "stop a",
        "start a",
        "start b",
        "start c",
        "restarting c 2",
        "stop b",
        "stop a",
        "start a",
        "start b",
        "start c",
    ];
    assert_eq!(world.log(), expect);
}

#[test]
fn an_exit_that_waited_is_looked_at_before_the_next_attempt() {
    let mut world = abc(Strategy::RestForOne).manual();
    world.exit("b", crash());
    world.stopped("c");
    world.exit("a", crash());
    world.start_fails("b");
    assert_eq!(world.log(), ["restarting b 1", "stop c", "start b", "restarting a 2", "start a"]);
    world.started("a");
    world.started("b");
    world.started("c");
    assert_eq!(world.log(), ["start b", "start c"], "b came back with a's group and is not tried again");
}

#[test]
fn a_child_that_is_terminated_while_it_is_restarted_leaves_the_later_ones_at_rest() {
    let mut world = abc(Strategy::RestForOne).manual();
    world.exit("b", crash());
    world.stopped("c");
    world.start_fails("b");
    world.call("terminate", "b").unwrap();
    assert_eq!(world.call("restart", "c"), Err("E_RESTARTING".into()));
    world.start_fails("b");
    let expect = ["restarting b 1", "stop c", "start b", "restarting b 2", "start b", "resting c", "resting b"];
    assert_eq!(world.log(), expect);
    assert_eq!(world.status("a"), Some(Status::Running));
    world.call("restart", "b").unwrap();
    assert_eq!(world.log(), ["start b"]);
    assert_eq!(world.status("c"), Some(Status::Resting));
}

#[test]
fn a_normal_end_of_a_transient_child_leaves_its_group_alone() {
    let children = [agent("a"), agent("t").restart(Restart::Transient)];
    let mut world = World::up(sup("root", Strategy::OneForAll, children));
    world.exit("t", ExitReason::Normal);
    assert_eq!(world.log(), ["resting t"]);
    assert_eq!(world.status("a"), Some(Status::Running));
}

#[test]
fn restarts_of_one_for_one_do_not_wait_for_a_stop() {
    let mut world = abc(Strategy::OneForOne).manual();
    world.call("terminate", "a").unwrap();
    world.exit("b", crash());
    assert_eq!(world.log(), ["stop a", "restarting b 1", "start b"]);
}
