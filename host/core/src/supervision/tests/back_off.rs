//! Waiting before a restart: ours, off by default.

use crate::spec::Strategy;

use super::super::Status;
use super::kit::*;

fn waits(world: &mut World) -> Vec<String> {
    world.log_of(&["wait", "start", "stop"])
}

#[test]
fn waits_grow_to_the_maximum_and_begin_anew_after_a_long_life() {
    let root = sup("root", Strategy::OneForOne, [agent("a")]).intensity(100, 5_000).back_off(10, 50, 200);
    let mut world = World::up(root);
    for wait_ms in [10, 20, 40, 50, 50] {
        world.exit("a", crash());
        assert_eq!(waits(&mut world), [format!("wait a {wait_ms}")]);
        assert_eq!(world.status("a"), Some(Status::Restarting));
        world.after(wait_ms * MS - 1);
        assert_eq!(waits(&mut world), Vec::<String>::new());
        world.after(1);
        assert_eq!(waits(&mut world), ["start a"]);
        world.after(50 * MS - 1);
    }
    world.after(1);
    world.exit("a", crash());
    assert_eq!(waits(&mut world), ["wait a 10"]);
}

#[test]
fn others_are_restarted_meanwhile() {
    let root = sup("root", Strategy::OneForOne, ["a", "b"].map(agent)).intensity(9, 5_000).back_off(10, 50, 200);
    let mut world = World::up(root);
    world.exit("a", crash());
    world.after(5 * MS);
    world.exit("b", crash());
    world.after(5 * MS);
    assert_eq!(waits(&mut world), ["wait a 10", "wait b 10", "start a"]);
    world.after(5 * MS);
    assert_eq!(waits(&mut world), ["start b"]);
}

#[test]
fn a_wait_does_not_forgive_the_intensity() {
    let root = sup("root", Strategy::OneForOne, [agent("a")]).intensity(2, 5_000).back_off(1, 1, 100);
    let mut world = World::up(root);
    for _ in 0..2 {
        world.exit("a", crash());
        world.after(MS);
    }
    world.exit("a", crash());
    assert!(world.down.is_some());
}

#[test]
fn a_failed_attempt_waits_longer() {
    let root = sup("root", Strategy::OneForOne, [agent("a")]).intensity(9, 5_000).back_off(10, 100, 300);
    let mut world = World::up(root);
    world.fails.insert("a".into(), 2);
    world.exit("a", crash());
    world.after(10 * MS);
    world.after(30 * MS);
    world.after(90 * MS);
    assert_eq!(waits(&mut world), ["wait a 10", "start a", "wait a 30", "start a", "wait a 90", "start a"]);
}

#[test]
fn a_group_is_stopped_then_waits_then_starts() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let root = sup("root", strategy, ["a", "b", "c"].map(agent)).intensity(9, 5_000).back_off(10, 10, 100);
        let mut world = World::up(root);
        world.exit("a", crash());
        assert_eq!(waits(&mut world), ["stop c", "stop b", "wait a 10"]);
        assert_eq!(world.status("b"), Some(Status::Restarting));
        world.after(10 * MS);
        assert_eq!(waits(&mut world), ["start a", "start b", "start c"]);
    }
}

#[test]
fn an_exit_further_left_takes_over_a_group_that_waits() {
    let root = sup("root", Strategy::RestForOne, ["a", "b", "c"].map(agent)).intensity(9, 5_000).back_off(10, 10, 100);
    let mut world = World::up(root);
    world.exit("b", crash());
    world.after(5 * MS);
    world.exit("a", crash());
    assert_eq!(waits(&mut world), ["stop c", "wait b 10", "wait a 10"]);
    world.after(5 * MS);
    assert_eq!(waits(&mut world), Vec::<String>::new(), "the wait of b is void");
    world.after(5 * MS);
    assert_eq!(waits(&mut world), ["start a", "start b", "start c"]);
}

#[test]
fn a_group_rests_with_a_child_that_is_terminated_while_it_waits() {
    let root = sup("root", Strategy::OneForAll, ["a", "b", "c"].map(agent)).back_off(10, 10, 100);
    let mut world = World::up(root);
    world.exit("b", crash());
    world.log();
    world.call("terminate", "b").unwrap();
    assert_eq!(world.log(), ["resting a", "resting c", "resting b"]);
    world.after(10 * MS);
    assert_eq!(world.log(), Vec::<String>::new());
    world.call("restart", "b").unwrap();
    assert_eq!(world.log(), ["start b"]);
}

#[test]
fn a_sibling_that_is_terminated_while_the_group_waits_is_not_started_with_it() {
    let root = sup("root", Strategy::OneForAll, ["a", "b", "c"].map(agent)).back_off(10, 10, 100);
    let mut world = World::up(root);
    world.exit("b", crash());
    world.call("terminate", "c").unwrap();
    world.log();
    world.after(10 * MS);
    assert_eq!(world.log(), ["start a", "start b"]);
}

#[test]
fn two_groups_of_rest_for_one_wait_each_for_itself() {
    let root = sup("root", Strategy::RestForOne, ["a", "b"].map(agent)).intensity(9, 5_000).back_off(10, 20, 200);
    let mut world = World::up(root);
    world.exit("a", crash());
    world.after(10 * MS);
    world.exit("a", crash());
    assert_eq!(waits(&mut world), ["stop b", "wait a 10", "start a", "start b", "stop b", "wait a 20"]);
    world.add("root", agent("c")).unwrap();
    world.exit("c", crash());
    assert_eq!(waits(&mut world), ["start c", "wait c 10"]);
    world.after(10 * MS);
    assert_eq!(waits(&mut world), ["start c"], "b waits for a");
    world.exit("c", crash());
    world.call("terminate", "c").unwrap();
    world.after(10 * MS);
    assert_eq!(waits(&mut world), ["wait c 20", "start a", "start b"]);
}

#[test]
fn shutdown_does_not_wait_for_a_wait() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::Dynamic] {
        let root = sup("root", strategy, ["a", "b"].map(agent)).back_off(10, 10, 100);
        let mut world = World::up(root);
        world.exit("b", crash());
        world.shutdown();
        assert!(world.down.is_some());
        assert_eq!(
            world.tree.handle(super::super::Event::Timer { child: world.id("b"), until_ns: 10 * MS }, 10 * MS),
            []
        );
    }
}

#[test]
fn the_timer_of_a_wait_that_was_cancelled_does_not_end_the_next() {
    let root = sup("root", Strategy::OneForOne, [agent("a")]).intensity(9, 5_000).back_off(10, 50, 200);
    let mut world = World::up(root);
    world.exit("a", crash());
    world.call("terminate", "a").unwrap();
    world.call("restart", "a").unwrap();
    world.after(5 * MS);
    world.exit("a", crash());
    assert_eq!(waits(&mut world), ["wait a 10", "start a", "wait a 10"]);
    world.after(5 * MS);
    assert_eq!(waits(&mut world), Vec::<String>::new());
    world.after(5 * MS);
    assert_eq!(waits(&mut world), ["start a"]);
}

#[test]
fn a_constant_wait_stays_however_often() {
    let root = sup("root", Strategy::OneForOne, [agent("a")]).intensity(1_000, 5_000).back_off(3, 1_000, 100);
    let mut world = World::up(root);
    for _ in 0..100 {
        world.exit("a", crash());
        assert_eq!(waits(&mut world), ["wait a 3"]);
        world.after(3 * MS);
        assert_eq!(waits(&mut world), ["start a"]);
    }
}
