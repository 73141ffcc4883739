//! Starting a tree: order, waiting, failure, bounded concurrency.

use crate::exit::ExitReason;
use crate::spec::{Restart, Strategy};

use super::super::{Down, Status, Tree};
use super::kit::*;

const ALL: [Strategy; 4] = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne, Strategy::Dynamic];

#[test]
fn children_start_left_to_right_each_awaited() {
    for strategy in ALL {
        let mut world = World::new(sup("root", strategy, ["a", "b"].map(agent))).manual();
        world.start();
        assert_eq!(world.log(), ["start a"]);
        world.started("a");
        assert_eq!(world.log(), ["start b"]);
        world.started("b");
        assert_eq!(world.log(), ["up"]);
    }
}

#[test]
fn a_supervisor_has_started_when_all_below_it_have() {
    let inner = sup("inner", Strategy::OneForOne, ["b", "c"].map(agent));
    let mut world = World::new(sup("root", Strategy::OneForOne, [agent("a"), inner.into(), agent("d")]));
    world.start();
    assert_eq!(world.log(), ["start a", "start b", "start c", "start d", "up"]);
}

#[test]
fn an_empty_tree_is_up_at_once_and_down_at_once() {
    let mut world = World::new(sup("root", Strategy::OneForOne, []));
    world.start();
    world.shutdown();
    assert_eq!(world.log(), ["up", "down Asked shutdown"]);
    world.start();
    assert_eq!(world.log(), ["up"], "and can start again");
}

#[test]
fn a_failure_while_starting_stops_the_started_ones_in_reverse_and_names_the_agent() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let mut world = World::new(sup("root", strategy, ["a", "b", "c", "d"].map(agent)).intensity(9, 9));
        world.fails.insert("c".into(), 1);
        world.start();
        let down = "down StartFailed start-failed: c: error: crash";
        assert_eq!(world.log(), ["start a", "start b", "start c", "stop b", "stop a", down]);
    }
}

#[test]
fn a_failure_below_fails_everything_above_and_is_never_tried_again() {
    let deep = sup("deep", Strategy::OneForOne, ["b", "c"].map(agent)).intensity(9, 9);
    let inner = sup("inner", Strategy::OneForAll, [deep.into()]).intensity(9, 9);
    let mut world = World::new(sup("root", Strategy::OneForOne, [agent("a"), inner.into()]).intensity(9, 9));
    world.fails.insert("c".into(), 1);
    world.start();
    let down = "down StartFailed start-failed: c: error: crash";
    assert_eq!(world.log(), ["start a", "start b", "start c", "stop b", "stop a", down]);
}

#[test]
fn an_agent_that_ends_before_it_has_started_failed_to_start() {
    let mut world = World::new(sup("root", Strategy::OneForOne, [agent("a")])).manual();
    world.start();
    let a = world.id("a");
    world.lives.insert(a, Life::Running);
    world.exit_id(a, ExitReason::Normal);
    assert_eq!(world.down, Some((Down::StartFailed, ExitReason::StartFailed("a: normal".into()))));
}

#[test]
fn an_exit_while_the_supervisor_starts_is_looked_at_when_it_has() {
    for strategy in ALL {
        let mut world = World::new(sup("root", strategy, ["a", "b"].map(agent))).manual();
        world.start();
        world.started("a");
        world.exit("a", crash());
        assert_eq!(world.log(), ["start a", "start b"]);
        world.started("b");
        let log = world.log();
        assert_eq!(log[..2], ["up", "restarting a 1"]);
    }
}

fn concurrent(strategy: Strategy, children: usize, concurrency_max: u32) -> World {
    let children = (0..children).map(|n| agent(&format!("a{n}")));
    let tree = Tree::new(&sup("root", strategy, children).intensity(100, 5_000)).unwrap();
    World::of(tree.start_concurrency_max(concurrency_max)).manual()
}

#[test]
fn at_most_so_many_start_at_a_time_in_order() {
    for strategy in [Strategy::OneForOne, Strategy::Dynamic] {
        let mut world = concurrent(strategy, 6, 3);
        world.start();
        assert_eq!(world.log(), ["start a0", "start a1", "start a2"]);
        world.started("a1");
        assert_eq!(world.log(), ["start a3"]);
        for n in [0, 2, 3, 4] {
            world.started(&format!("a{n}"));
        }
        assert_eq!(world.log(), ["start a4", "start a5"]);
        world.started("a5");
        assert_eq!(world.log(), ["up"]);
    }
}

#[test]
fn groups_start_one_after_the_other_whatever_the_bound() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let mut world = concurrent(strategy, 6, 3);
        world.start();
        assert_eq!(world.log(), ["start a0"]);
    }
}

#[test]
fn restarts_keep_to_the_same_bound() {
    let mut world = concurrent(Strategy::OneForOne, 6, 2);
    world.auto = true;
    world.start();
    world.auto = false;
    world.log();
    (0..6).for_each(|n| world.exit(&format!("a{n}"), crash()));
    assert_eq!(world.log_of(&["start"]), ["start a0", "start a1"]);
    world.started("a0");
    assert_eq!(world.log_of(&["start"]), ["start a2"]);
}

#[test]
fn a_failure_gives_up_the_starts_that_are_under_way() {
    let mut world = concurrent(Strategy::OneForOne, 6, 3);
    world.start();
    world.log();
    world.started("a0");
    world.start_fails("a1");
    assert_eq!(world.log(), ["start a3", "stop a3"]);
    world.started("a2");
    world.stopped("a3");
    world.stopped("a2");
    world.stopped("a0");
    assert_eq!(world.log(), ["stop a2", "stop a0", "down StartFailed start-failed: a1: error: crash"]);
}

#[test]
fn late_answers_of_a_start_that_was_given_up_do_no_harm() {
    let mut world = World::new(sup("root", Strategy::OneForOne, ["a", "b"].map(agent))).manual();
    world.start();
    world.shutdown();
    assert_eq!(world.log(), ["start a", "stop a"]);
    let child = world.id("a");
    world.tell(super::super::Event::Started { child });
    assert_eq!(world.status("a"), Some(Status::Stopping));
    world.tell(super::super::Event::Timer { child, until_ns: 0 });
    world.stopped("a");
    assert_eq!(world.log(), ["down Asked shutdown"]);
    world.start();
    assert_eq!(world.log(), ["start a"]);
}

#[test]
fn a_failure_is_what_the_hive_is_down_for_even_if_it_is_shut_down_meanwhile() {
    let mut world = World::new(sup("root", Strategy::OneForOne, ["a", "b"].map(agent))).manual();
    world.start();
    world.started("a");
    world.start_fails("b");
    world.shutdown();
    world.stopped("a");
    assert_eq!(world.down, Some((Down::StartFailed, ExitReason::StartFailed("b: error: crash".into()))));
}

#[test]
fn what_was_declared_comes_back_when_its_supervisor_starts_again_and_what_was_added_does_not() {
    let declared = [agent("t").restart(Restart::Temporary), agent("d"), agent("e")];
    let inner = sup("inner", Strategy::OneForOne, declared).intensity(0, 5_000);
    let mut world = World::up(sup("root", Strategy::OneForOne, [inner.into()]));
    world.add("inner", agent("added")).unwrap();
    world.exit("t", ExitReason::Normal);
    world.call("terminate", "d").unwrap();
    world.call("delete", "d").unwrap();
    assert_eq!(world.log(), ["start added", "gone t", "stop d", "resting d", "gone d"]);
    world.exit("e", crash());
    let expect = ["escalated inner", "stop added", "gone added", "restarting inner 1", "start t", "start d", "start e"];
    assert_eq!(world.log(), expect);
}

#[test]
fn a_declared_name_that_was_taken_meanwhile_fails_the_start() {
    let inner = sup("inner", Strategy::OneForOne, [agent("a"), agent("b")]).intensity(0, 5_000);
    let mut world = World::up(sup("root", Strategy::OneForOne, [inner.into()]).intensity(3, 5_000));
    world.call("terminate", "a").unwrap();
    world.call("delete", "a").unwrap();
    world.add("root", agent("a")).unwrap();
    world.log();
    world.exit("b", crash());
    let log = world.log_of(&["restarting", "escalated", "down"]);
    let expect = [
        "escalated inner",
        "restarting inner 1",
        "restarting inner 2",
        "restarting inner 3",
        "escalated root",
        "down Escalated shutdown",
    ];
    assert_eq!(log, expect);
}
