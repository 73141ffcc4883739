//! Stopping a tree: order, patience, interruption.

use crate::exit::ExitReason;
use crate::spec::{Restart, Shutdown, Strategy};

use super::super::{Action, Down};
use super::kit::*;

#[test]
fn shutdown_stops_right_to_left_on_every_level() {
    let inner = sup("inner", Strategy::OneForOne, ["b", "c"].map(agent));
    let mut world = World::up(sup("root", Strategy::RestForOne, [agent("a"), inner.into(), agent("d")]));
    world.shutdown();
    assert_eq!(world.log(), ["stop d", "stop c", "stop b", "stop a", "down Asked shutdown"]);
}

#[test]
fn each_stop_is_awaited() {
    let mut world = World::up(sup("root", Strategy::OneForOne, ["a", "b"].map(agent))).manual();
    world.shutdown();
    assert_eq!(world.log(), ["stop b"]);
    world.shutdown();
    assert_eq!(world.log(), Vec::<String>::new(), "a second call changes nothing");
    world.stopped("b");
    assert_eq!(world.log(), ["stop a"]);
    world.stopped("a");
    assert_eq!(world.log(), ["down Asked shutdown"]);
}

#[test]
fn a_dynamic_supervisor_stops_all_at_once() {
    let mut world = World::up(sup("root", Strategy::Dynamic, ["a", "b", "c"].map(agent))).manual();
    world.shutdown();
    assert_eq!(world.log(), ["stop c", "stop b", "stop a"]);
    world.stopped("b");
    world.stopped("c");
    assert_eq!(world.log(), Vec::<String>::new());
    world.stopped("a");
    assert_eq!(world.log(), ["down Asked shutdown"]);
}

#[test]
fn a_stop_says_how_long_it_may_take() {
    let children = [
        agent("a").shutdown(Shutdown::Infinity),
        agent("b").shutdown(Shutdown::AfterMs(7)),
        agent("c").shutdown(Shutdown::Brutal),
    ];
    let mut world = World::up(sup("root", Strategy::Dynamic, children)).manual();
    let [a, b, c] = ["a", "b", "c"].map(|name| world.id(name));
    let expect = [
        Action::Stop { child: c, reason: ExitReason::Killed, how: Shutdown::Brutal },
        Action::Stop { child: b, reason: ExitReason::Shutdown, how: Shutdown::AfterMs(7) },
        Action::Stop { child: a, reason: ExitReason::Shutdown, how: Shutdown::Infinity },
    ];
    assert_eq!(world.tree.shutdown(0), expect);
}

#[test]
fn an_end_during_shutdown_is_no_restart() {
    let mut world = World::up(sup("root", Strategy::OneForOne, ["a", "b"].map(agent))).manual();
    world.shutdown();
    world.exit("a", crash());
    world.stopped("b");
    assert_eq!(world.log(), ["stop b", "down Asked shutdown"]);
}

#[test]
fn shutdown_interrupts_a_restart_of_a_group() {
    let children = ["a", "b", "c", "d"].map(agent);
    let mut world = World::up(sup("root", Strategy::RestForOne, children)).manual();
    world.exit("b", crash());
    world.stopped("d");
    world.shutdown();
    world.stopped("c");
    world.stopped("a");
    assert_eq!(world.log(), ["restarting b 1", "stop d", "stop c", "stop a", "down Asked shutdown"]);
}

#[test]
fn shutdown_interrupts_the_start_of_a_group() {
    let mut world = World::up(sup("root", Strategy::OneForAll, ["a", "b"].map(agent))).manual();
    world.exit("a", crash());
    world.stopped("b");
    world.started("a");
    world.shutdown();
    world.stopped("b");
    world.stopped("a");
    assert_eq!(world.log()[2..], ["start a", "start b", "stop b", "stop a", "down Asked shutdown"]);
}

#[test]
fn shutdown_after_an_escalation_is_still_an_escalation() {
    let mut world = World::up(sup("root", Strategy::OneForOne, ["a", "b"].map(agent)).intensity(0, 1)).manual();
    world.exit("a", crash());
    world.shutdown();
    world.stopped("b");
    assert_eq!(world.down, Some((Down::Escalated, ExitReason::Shutdown)));
}

#[test]
fn a_brutal_supervisor_is_killed_with_all_below_it_at_once() {
    let deep = sup("deep", Strategy::OneForOne, ["c", "d"].map(agent));
    let inner = sup("inner", Strategy::OneForAll, [agent("b"), deep.into()]).shutdown(Shutdown::Brutal);
    let mut world = World::up(sup("root", Strategy::OneForOne, [agent("a"), inner])).manual();
    world.shutdown();
    assert_eq!(world.log(), ["kill b", "kill d", "kill c"]);
    world.stopped("c");
    world.stopped("d");
    world.stopped("b");
    assert_eq!(world.log(), ["stop a"]);
}

#[test]
fn a_supervisor_that_does_not_stop_in_time_is_killed() {
    let inner = sup("inner", Strategy::OneForOne, ["b", "c", "d"].map(agent)).shutdown(Shutdown::AfterMs(10));
    let mut world = World::up(sup("root", Strategy::OneForOne, [agent("a"), inner])).manual();
    world.shutdown();
    assert_eq!(world.log(), ["wait inner 10", "stop d"]);
    world.stopped("d");
    assert_eq!(world.log(), ["stop c"]);
    world.after(10 * MS);
    assert_eq!(world.log(), ["kill c", "kill b"], "the one that is stopping and the one that was not asked");
    world.stopped("b");
    world.stopped("c");
    assert_eq!(world.log(), ["stop a"]);
}

#[test]
fn the_patience_with_a_supervisor_that_stopped_in_time_is_void() {
    let inner = sup("inner", Strategy::OneForOne, [agent("b")]).shutdown(Shutdown::AfterMs(10));
    let root = sup("root", Strategy::OneForAll, [agent("a"), inner]);
    let mut world = World::up(root);
    world.exit("a", crash());
    assert_eq!(world.log(), ["restarting a 1", "wait inner 10", "stop b", "start a", "start b"]);
    world.auto = false;
    world.now_ns = 1;
    world.shutdown();
    assert_eq!(world.log(), ["wait inner 10", "stop b"]);
    world.after(10 * MS - 1);
    assert_eq!(world.log(), Vec::<String>::new(), "the first timer is not the second's");
    world.after(1);
    assert_eq!(world.log(), ["kill b"]);
}

#[test]
fn temporary_children_are_declared_again_after_their_supervisor_stopped() {
    let inner = sup("inner", Strategy::OneForOne, [agent("t").restart(Restart::Temporary)]);
    let mut world = World::up(sup("root", Strategy::OneForAll, [inner.into(), agent("a")]));
    world.exit("a", crash());
    assert_eq!(world.log(), ["restarting a 1", "stop t", "start t", "start a"]);
}
