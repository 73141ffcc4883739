//! More than N restarts in the last T, at both sides of the boundary; failed attempts; loops.

use crate::exit::ExitReason;
use crate::spec::{Restart, Strategy};

use super::super::{Down, Status};
use super::kit::*;

#[test]
fn intensity_0_ends_the_supervisor_with_the_first_restart() {
    let mut world = World::up(sup("root", Strategy::OneForOne, ["a", "b"].map(agent)).intensity(0, 5_000));
    world.exit("a", crash());
    assert_eq!(world.log(), ["escalated root", "stop b", "down Escalated shutdown"]);
}

#[test]
fn n_restarts_are_allowed_and_one_more_is_not() {
    for intensity in [1, 2, 7] {
        let mut world = World::up(sup("root", Strategy::OneForOne, [agent("a")]).intensity(intensity, 5_000));
        for restart in 1..=intensity {
            world.exit("a", crash());
            assert_eq!(world.log(), [format!("restarting a {restart}"), "start a".into()]);
        }
        world.exit("a", crash());
        assert_eq!(world.log(), ["escalated root", "down Escalated shutdown"]);
    }
}

#[test]
fn the_window_includes_both_ends_to_the_nanosecond() {
    for (wait_ns, is_over) in [(5_000 * MS - 1, true), (5_000 * MS, true), (5_000 * MS + 1, false)] {
        let mut world = World::up(sup("root", Strategy::OneForOne, [agent("a")]));
        world.exit("a", crash());
        world.after(wait_ns);
        let root = world.tree.child(world.tree.root()).unwrap();
        assert_eq!(root.restarts(world.now_ns), u32::from(is_over));
        world.exit("a", crash());
        assert_eq!(world.down.is_some(), is_over, "{wait_ns}");
    }
}

#[test]
fn restarts_leave_the_window_one_by_one() {
    let mut world = World::up(sup("root", Strategy::OneForOne, [agent("a")]).intensity(2, 10));
    for _ in 0..50 {
        world.exit("a", crash());
        world.after(5 * MS + 1);
    }
    assert!(world.down.is_none());
    world.exit("a", crash());
    world.exit("a", crash());
    assert_eq!(world.down, Some((Down::Escalated, ExitReason::Shutdown)));
}

#[test]
fn the_restarts_of_all_children_are_counted_together() {
    let mut world = World::up(sup("root", Strategy::OneForOne, ["a", "b"].map(agent)));
    world.exit("a", crash());
    world.exit("b", crash());
    assert!(world.down.is_some());
}

#[test]
fn a_restart_of_ten_children_counts_once() {
    let children = (0..10).map(|n| agent(&format!("a{n}")));
    let mut world = World::up(sup("root", Strategy::OneForAll, children));
    world.exit("a5", crash());
    assert_eq!(world.log_of(&["restarting", "escalated"]), ["restarting a5 1"]);
    world.exit("a0", crash());
    assert!(world.down.is_some());
}

#[test]
fn ends_that_are_not_restarted_do_not_count() {
    let children = (0..10).map(|n| agent(&format!("a{n}")).restart(Restart::Temporary));
    let mut world = World::up(sup("root", Strategy::OneForOne, children).intensity(0, 5_000));
    (0..10).for_each(|n| world.exit(&format!("a{n}"), crash()));
    assert!(world.down.is_none());
}

#[test]
fn a_failed_attempt_counts_again_until_it_works() {
    let mut world = World::up(sup("root", Strategy::OneForOne, [agent("a")]).intensity(3, 5_000));
    world.fails.insert("a".into(), 2);
    world.exit("a", crash());
    let expect = ["restarting a 1", "start a", "restarting a 2", "start a", "restarting a 3", "start a"];
    assert_eq!(world.log(), expect);
    assert_eq!(world.status("a"), Some(Status::Running));
}

#[test]
fn attempts_that_keep_failing_escalate() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne, Strategy::Dynamic] {
        let mut world = World::up(sup("root", strategy, [agent("a")]).intensity(4, 5_000));
        world.fails.insert("a".into(), u32::MAX);
        world.exit("a", crash());
        let log = world.log();
        assert_eq!(log.iter().filter(|line| *line == "start a").count(), 4, "{strategy:?}");
        assert_eq!(log[log.len() - 2..], ["escalated root", "down Escalated shutdown"]);
    }
}

#[test]
fn a_loop_of_failing_restarts_stays_open_to_calls_and_shutdown() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne, Strategy::Dynamic] {
        let root = || sup("root", strategy, ["a", "b"].map(agent)).intensity(1_000_000, 5_000);
        let looping = || {
            let mut world = World::up(root());
            world.fails.insert("b".into(), 1_000);
            world.auto = false;
            world.exit("b", crash());
            for _ in 0..100 {
                while let Some((&id, _)) = world.lives.iter().find(|(_, life)| **life != Life::Running) {
                    let is_b = id == world.id("b");
                    match world.lives[&id] {
                        Life::Starting => world.answer_start(id, !is_b),
                        _ => world.answer_stop(id),
                    }
                    if is_b {
                        break;
                    }
                }
                assert_eq!(world.status("b"), Some(Status::Restarting), "{strategy:?}");
            }
            world.log();
            world
        };
        let mut world = looping();
        let dynamic = strategy == Strategy::Dynamic;
        let refusal = if dynamic { "E_DYNAMIC" } else { "E_RESTARTING" };
        assert_eq!(world.call("delete", "b"), Err(refusal.into()));
        assert_eq!(world.call("restart", "b"), Err(refusal.into()));
        world.auto = true;
        world.call("terminate", "b").unwrap();
        settle(&mut world);
        assert_eq!(world.status("b"), if dynamic { None } else { Some(Status::Resting) }, "{strategy:?}");

        let mut world = looping();
        world.auto = true;
        world.shutdown();
        settle(&mut world);
        assert_eq!(world.down, Some((Down::Asked, ExitReason::Shutdown)), "{strategy:?}");
    }
}

/// Answers what was asked for before `auto` was set.
fn settle(world: &mut World) {
    while let Some((&id, &life)) = world.lives.iter().find(|(_, life)| **life != Life::Running) {
        match life {
            Life::Starting => world.answer_start(id, true),
            _ => world.answer_stop(id),
        }
    }
}

#[test]
fn time_that_goes_back_does_no_harm() {
    let mut world = World::up(sup("root", Strategy::OneForOne, [agent("a")]));
    world.now_ns = u64::MAX;
    world.exit("a", crash());
    world.now_ns = 0;
    world.exit("a", crash());
    assert!(world.down.is_some());
}
