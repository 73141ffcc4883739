//! Management calls: what they do and what they refuse, in OTP's words.

use crate::exit::ExitReason;
use crate::spec::{AutoShutdown, Restart, Strategy};

use super::super::{Counts, ManageError, Status};
use super::kit::*;

fn ab(strategy: Strategy) -> World {
    World::up(sup("root", strategy, ["a", "b"].map(agent)).intensity(9, 5_000))
}

#[test]
fn start_child_adds_at_the_right_end() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne, Strategy::Dynamic] {
        let mut world = ab(strategy);
        let child = world.add("root", agent("c")).unwrap();
        assert_eq!(world.tree.child(child).unwrap().name().as_str(), "c");
        assert!(!world.tree.child(child).unwrap().is_declared());
        world.shutdown();
        assert_eq!(world.log_of(&["start", "stop"]), ["start c", "stop c", "stop b", "stop a"]);
    }
}

#[test]
fn start_child_takes_a_whole_supervisor() {
    let mut world = ab(Strategy::OneForOne);
    world.add("root", sup("inner", Strategy::OneForAll, ["c", "d"].map(agent))).unwrap();
    world.exit("c", crash());
    assert_eq!(world.log(), ["start c", "start d", "restarting c 1", "stop d", "start c", "start d"]);
}

#[test]
fn a_start_that_fails_removes_the_spec_and_counts_no_restart() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne, Strategy::Dynamic] {
        let mut world = ab(strategy);
        world.fails.insert("c".into(), 1);
        let child = world.add("root", agent("c")).unwrap();
        assert_eq!(world.log(), ["start c", "gone c"]);
        assert!(world.tree.child(child).is_none());
        world.add("root", agent("c")).unwrap();
        assert_eq!(world.log(), ["start c"], "the name is free again");
    }
}

#[test]
fn start_child_refuses_what_is_there_or_wrong() {
    let inner = sup("inner", Strategy::OneForOne, [agent("c").restart(Restart::Transient)]);
    let mut world = World::up(sup("root", Strategy::OneForOne, [agent("a"), inner.into()]));
    assert_eq!(world.add("root", agent("a")), Err("E_ALREADY_STARTED".into()));
    assert_eq!(world.add("root", agent("c")), Err("E_ALREADY_STARTED".into()), "anywhere in the hive");
    assert_eq!(world.add("root", agent("root")), Err("E_ALREADY_STARTED".into()));
    world.exit("c", ExitReason::Normal);
    assert_eq!(world.add("inner", agent("c")), Err("E_ALREADY_PRESENT".into()));
    let nested = sup("new", Strategy::OneForOne, [agent("x"), agent("a")]);
    assert_eq!(world.add("root", nested), Err("E_ALREADY_STARTED".into()));
    assert_eq!(world.add("root", sup("new", Strategy::OneForOne, [agent("x"), agent("x")])), spec());
    assert_eq!(world.add("root", agent("x").restart(Restart::Transient).significant()), spec());
    assert_eq!(world.add("nobody", agent("x")), Err("E_NOT_FOUND".into()));
    assert_eq!(world.add("a", agent("x")), Err("E_NOT_A_SUPERVISOR".into()));
    assert_eq!(world.log(), ["resting c"]);
    assert_eq!(world.tree.count(), 4, "nothing of a refused call stays");
}

fn spec() -> Result<super::super::ChildId, String> {
    Err("E_SUPERVISION_SPEC".into())
}

#[test]
fn a_refusal_makes_foreign_text_safe() {
    let mut world = ab(Strategy::OneForOne);
    let error = world.tree.terminate_child("a\u{1b}[31m", 0).unwrap_err();
    assert_eq!(error, ManageError::NotFound("a\\u{1b}[31m".into()));
}

#[test]
fn terminate_child_keeps_the_spec_and_may_be_repeated() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let mut world = ab(strategy);
        world.call("terminate", "a").unwrap();
        assert_eq!(world.log(), ["stop a", "resting a"]);
        world.call("terminate", "a").unwrap();
        assert_eq!(world.log(), ["resting a"], "answered again");
        assert_eq!(world.call("terminate", "nobody"), Err("E_NOT_FOUND".into()));
        assert_eq!(world.call("terminate", "root"), Err("E_NOT_FOUND".into()));
    }
}

#[test]
fn terminate_child_removes_a_temporary_spec() {
    let mut world = World::up(sup("root", Strategy::OneForOne, [agent("t").restart(Restart::Temporary)]));
    world.call("terminate", "t").unwrap();
    assert_eq!(world.log(), ["stop t", "gone t"]);
    assert_eq!(world.call("terminate", "t"), Err("E_NOT_FOUND".into()));
}

#[test]
fn terminate_child_waits_for_the_stop() {
    let mut world = ab(Strategy::OneForOne).manual();
    world.call("terminate", "a").unwrap();
    assert_eq!(world.log(), ["stop a"]);
    world.call("terminate", "a").unwrap();
    assert_eq!(world.log(), Vec::<String>::new());
    assert_eq!(world.call("restart", "a"), Err("E_RUNNING".into()));
    assert_eq!(world.call("delete", "a"), Err("E_RUNNING".into()));
    world.stopped("a");
    assert_eq!(world.log(), ["resting a"]);
}

#[test]
fn terminate_child_gives_up_a_start() {
    let mut world = ab(Strategy::OneForOne).manual();
    world.exit("a", crash());
    world.call("terminate", "a").unwrap();
    assert_eq!(world.log(), ["restarting a 1", "start a", "stop a"]);
    world.stopped("a");
    assert_eq!(world.log(), ["resting a"]);
}

#[test]
fn terminate_child_of_a_supervisor_stops_all_below_it() {
    let inner = sup("inner", Strategy::OneForOne, ["c", "d"].map(agent));
    let mut world = World::up(sup("root", Strategy::OneForOne, [inner.into(), agent("e")]));
    world.call("terminate", "inner").unwrap();
    assert_eq!(world.log(), ["stop d", "stop c", "resting inner", "resting c", "resting d"]);
    world.call("terminate", "c").unwrap();
    assert_eq!(world.log(), ["resting c"]);
    world.call("delete", "inner").unwrap();
    assert_eq!(world.log(), ["gone d", "gone c", "gone inner"]);
}

#[test]
fn restart_child_starts_what_is_at_rest_and_counts_nothing() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let mut world = ab(strategy);
        assert_eq!(world.call("restart", "a"), Err("E_RUNNING".into()));
        assert_eq!(world.call("restart", "nobody"), Err("E_NOT_FOUND".into()));
        for _ in 0..20 {
            world.call("terminate", "a").unwrap();
            world.call("restart", "a").unwrap();
            assert_eq!(world.log(), ["stop a", "resting a", "start a"]);
        }
        world.call("terminate", "a").unwrap();
        world.fails.insert("a".into(), 1);
        world.log();
        world.call("restart", "a").unwrap();
        assert_eq!(world.log(), ["start a", "resting a"], "a failure leaves it at rest");
    }
}

#[test]
fn delete_child_needs_a_child_at_rest() {
    let mut world = ab(Strategy::OneForOne);
    assert_eq!(world.call("delete", "a"), Err("E_RUNNING".into()));
    world.call("terminate", "a").unwrap();
    world.call("delete", "a").unwrap();
    assert_eq!(world.log(), ["stop a", "resting a", "gone a"]);
    assert_eq!(world.call("delete", "a"), Err("E_NOT_FOUND".into()));
    assert_eq!(world.call("restart", "a"), Err("E_NOT_FOUND".into()));
}

#[test]
fn a_dynamic_supervisor_only_starts_and_terminates() {
    let mut world = ab(Strategy::Dynamic);
    assert_eq!(world.call("restart", "a"), Err("E_DYNAMIC".into()));
    assert_eq!(world.call("delete", "a"), Err("E_DYNAMIC".into()));
    world.call("terminate", "a").unwrap();
    assert_eq!(world.log(), ["stop a", "gone a"]);
}

#[test]
fn calls_wait_while_a_group_is_restarted() {
    let mut world = ab(Strategy::OneForAll).manual();
    world.exit("a", crash());
    world.add("root", agent("c")).unwrap();
    world.call("terminate", "b").unwrap();
    assert_eq!(world.log(), ["restarting a 1", "stop b"]);
    assert_eq!(world.status("c"), Some(Status::Starting));
    world.stopped("b");
    world.started("a");
    world.started("b");
    assert_eq!(world.log(), ["start a", "start b", "start c"], "first come, first served");
    world.started("c");
    assert_eq!(world.log(), ["stop b"]);
    world.stopped("b");
    assert_eq!(world.log(), ["resting b"]);
}

#[test]
fn a_call_that_waits_is_answered_when_its_supervisor_ends() {
    let inner = sup("inner", Strategy::OneForAll, [agent("a"), agent("b"), agent("c").restart(Restart::Transient)]);
    let mut world = World::up(sup("root", Strategy::OneForOne, [inner.into()]));
    world.exit("c", ExitReason::Normal);
    world.auto = false;
    world.exit("a", crash());
    world.add("inner", agent("d")).unwrap();
    world.call("terminate", "b").unwrap();
    world.log();
    world.call("terminate", "inner").unwrap();
    world.stopped("b");
    let expect = ["resting b", "gone d", "resting inner", "resting a", "resting b", "resting c"];
    assert_eq!(world.log(), expect);
}

#[test]
fn a_child_may_be_added_while_its_supervisor_starts() {
    let mut world = World::new(sup("root", Strategy::OneForOne, ["a", "b"].map(agent))).manual();
    world.start();
    world.add("root", agent("c")).unwrap();
    world.started("a");
    world.started("b");
    assert_eq!(world.log(), ["start a", "start b", "up", "start c"]);
}

#[test]
fn a_supervisor_that_ends_takes_no_more_children() {
    let mut world = ab(Strategy::OneForOne).manual();
    world.shutdown();
    assert_eq!(world.add("root", agent("c")), Err("E_SUPERVISOR_DOWN".into()));
    let mut world = World::new(sup("root", Strategy::OneForOne, []));
    assert_eq!(world.add("root", agent("c")), Err("E_SUPERVISOR_DOWN".into()));
}

#[test]
fn count_children_counts_as_otp_does() {
    let inner = sup("inner", Strategy::OneForOne, [agent("c")]);
    let mut world = World::up(sup("root", Strategy::OneForOne, [agent("a"), agent("b"), inner.into()]));
    let counts = |world: &World| world.tree.count_children("root").unwrap();
    assert_eq!(counts(&world), Counts { specs: 3, active: 3, supervisors: 1, workers: 2 });
    world.call("terminate", "a").unwrap();
    world.call("terminate", "inner").unwrap();
    assert_eq!(counts(&world), Counts { specs: 3, active: 1, supervisors: 1, workers: 2 });
    world.call("delete", "inner").unwrap();
    assert_eq!(counts(&world), Counts { specs: 2, active: 1, supervisors: 0, workers: 2 });
    assert_eq!(world.tree.count_children("a").unwrap_err().code(), "E_NOT_A_SUPERVISOR");
}

#[test]
fn a_significant_child_may_be_added_where_it_makes_sense() {
    let children = [agent("a").restart(Restart::Transient).significant()];
    let mut world = World::up(sup("root", Strategy::OneForOne, children).auto(AutoShutdown::AllSignificant));
    world.add("root", agent("b").restart(Restart::Temporary).significant()).unwrap();
    world.exit("a", ExitReason::Normal);
    assert_eq!(world.down, None);
    world.exit("b", crash());
    assert!(world.down.is_some());
}

#[test]
fn a_number_never_means_another_child() {
    let mut world = ab(Strategy::Dynamic);
    let old = world.add("root", agent("c")).unwrap();
    world.call("terminate", "c").unwrap();
    let new = world.add("root", agent("d")).unwrap();
    assert_ne!(old, new);
    assert!(world.tree.child(old).is_none());
    world.log();
    world.tell(super::super::Event::Exited { child: old, reason: crash() });
    assert_eq!(world.log(), Vec::<String>::new());
}
