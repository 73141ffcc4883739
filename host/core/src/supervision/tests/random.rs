//! Random trees and random histories. What must always hold is checked by the kit at every action; here: whatever
//! happened, everything comes to rest, every call is answered, and a shutdown ends with nothing running.

use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use crate::exit::ExitReason;
use crate::spec::{AutoShutdown, ChildSpec, Restart, Shutdown, Strategy, SupervisorSpec};

use super::super::{Status, Tree};
use super::kit::*;

/// A tree without names: they are given by place.
#[derive(Clone, Debug)]
enum Shape {
    Agent(u8),
    Supervisor { flags: u32, intensity: u32, children: Vec<Shape> },
}

fn shape() -> impl Generator<Value = Shape> {
    let leaf = any::<u8>().prop_map(Shape::Agent);
    leaf.prop_recursive(3, 24, 5, |inner| {
        (any::<u32>(), 0u32..5, prop::collection::vec(inner, 0..5))
            .prop_map(|(flags, intensity, children)| Shape::Supervisor { flags, intensity, children })
    })
}

fn restart_of(bits: u32) -> Restart {
    [Restart::Permanent, Restart::Permanent, Restart::Transient, Restart::Temporary][bits as usize % 4]
}

fn spec_of(shape: &Shape, auto_shutdown: AutoShutdown, count: &mut u32) -> ChildSpec {
    *count += 1;
    let text = format!("n{count}");
    let (flags, spec) = match shape {
        Shape::Agent(flags) => (u32::from(*flags), agent(&text)),
        Shape::Supervisor { flags, intensity, children } => {
            (flags >> 16, supervisor_of(&text, *flags, *intensity, children, count).into())
        }
    };
    let restart = restart_of(flags);
    let spec = spec.restart(restart);
    let can_be = restart != Restart::Permanent && auto_shutdown != AutoShutdown::Never;
    let spec = if can_be && flags & 4 != 0 { spec.significant() } else { spec };
    let patience = [Shutdown::Infinity, Shutdown::Infinity, Shutdown::AfterMs(5), Shutdown::Brutal];
    spec.shutdown(patience[(flags >> 3) as usize % 4])
}

fn supervisor_of(text: &str, flags: u32, intensity: u32, children: &[Shape], count: &mut u32) -> SupervisorSpec {
    let all = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne, Strategy::Dynamic];
    let strategy = all[flags as usize % 4];
    let auto = [AutoShutdown::Never, AutoShutdown::AnySignificant, AutoShutdown::AllSignificant];
    let auto = if strategy == Strategy::Dynamic { AutoShutdown::Never } else { auto[(flags >> 2) as usize % 3] };
    let children: Vec<_> = children.iter().map(|child| spec_of(child, auto, count)).collect();
    let spec = sup(text, strategy, children).auto(auto).intensity(intensity, 20);
    if flags & 0x100 == 0 { spec } else { spec.back_off(2, 9, 200) }
}

/// One thing that happens: what, to whom, after how long.
type Step = (u8, u16, u16);

fn step(world: &mut World, (what, whom, wait_us): Step) {
    world.after(u64::from(wait_us) * 1_000);
    if world.down.is_some() {
        return;
    }
    let with = |world: &World, life: Life| {
        let ids: Vec<_> = world.lives.iter().filter(|(_, it)| **it == life).map(|(&id, _)| id).collect();
        (!ids.is_empty()).then(|| ids[whom as usize % ids.len()])
    };
    let any_name = |world: &World| {
        let ids = world.tree.nodes.with_descendants(world.tree.root());
        world.tree.child(ids[whom as usize % ids.len()]).unwrap().name().to_string()
    };
    match what % 16 {
        0..=4 => with(world, Life::Starting).into_iter().for_each(|id| world.answer_start(id, what % 16 != 4)),
        5..=7 => with(world, Life::Stopping).into_iter().for_each(|id| world.answer_stop(id)),
        8 | 9 => {
            let reason = if whom & 0x8000 == 0 { crash() } else { ExitReason::Normal };
            with(world, Life::Running).into_iter().for_each(|id| world.exit_id(id, reason.clone()));
        }
        10 => drop(world.call("terminate", &any_name(world))),
        11 => drop(world.call("restart", &any_name(world))),
        12 => drop(world.call("delete", &any_name(world))),
        13 => {
            let restart = restart_of(u32::from(wait_us));
            drop(world.add(&any_name(world), agent(&format!("x{whom}")).restart(restart)));
        }
        14 => {
            let inner = sup(&format!("y{whom}"), Strategy::OneForAll, [agent(&format!("z{whom}"))]).intensity(2, 20);
            drop(world.add(&any_name(world), inner));
        }
        _ => {}
    }
}

/// Answers everything well until nothing is open.
fn settle(world: &mut World) {
    for _ in 0..100_000 {
        if let Some((&id, &life)) = world.lives.iter().find(|(_, life)| **life != Life::Running) {
            match life {
                Life::Starting => world.answer_start(id, true),
                _ => world.answer_stop(id),
            }
        } else if let Some(&(until_ns, _)) = world.timers.first() {
            world.after(until_ns.saturating_sub(world.now_ns));
        } else {
            return;
        }
    }
    panic!("it never comes to rest");
}

/// Everything open is answered: who is not at rest runs, and so does its supervisor.
fn check_rest(world: &World) {
    for id in world.tree.nodes.with_descendants(world.tree.root()) {
        let child = world.tree.child(id).unwrap();
        let status = child.status();
        let is_stuck = !matches!(status, Status::Resting | Status::Running);
        assert!(!is_stuck, "{} is {status:?} for ever", child.name());
        if child.agent().is_some() {
            assert_eq!(status == Status::Running, world.lives.get(&id) == Some(&Life::Running));
        }
        let above = child.supervisor().and_then(|id| world.tree.child(id));
        assert!(status == Status::Resting || above.is_none_or(|above| above.status() == Status::Running));
        let node = world.tree.nodes.get(id).unwrap();
        assert!(!node.called && !node.stop_wanted && !node.noted && node.ticket.is_none(), "{node:?}");
    }
    assert!(world.calls.is_empty(), "calls without an answer: {:?}", world.calls);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_everything_comes_to_rest_and_then_to_an_end(
        flags in any::<u32>(),
        intensity in 0u32..40,
        concurrency_max in 1u32..4,
        children in prop::collection::vec(shape(), 0..5),
        steps in prop::collection::vec(any::<Step>(), 0..250),
    ) {
        let mut count = 0;
        let root = supervisor_of("root", flags, intensity, &children, &mut count);
        let tree = Tree::new(&root).unwrap().start_concurrency_max(concurrency_max);
        let mut world = World::of(tree).manual();
        world.start();
        steps.into_iter().for_each(|it| step(&mut world, it));
        settle(&mut world);
        check_rest(&world);
        if world.down.is_none() {
            world.shutdown();
            settle(&mut world);
        }
        prop_assert!(world.down.is_some());
        check_rest(&world);
        world.start();
        settle(&mut world);
        prop_assert!(world.down.is_none(), "it can start again");
        check_rest(&world);
    }
}
