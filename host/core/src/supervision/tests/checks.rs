//! Specs that contradict themselves: all at once, each with OTP's word.

use crate::spec::{AutoShutdown, ChildSpec, Restart, Strategy, SupervisorSpec};

use super::super::{DEPTH_MAX, INTENSITY_MAX, SpecError, Tree, check};
use super::kit::*;

fn errors(root: &SupervisorSpec) -> Vec<String> {
    let errors = check(root);
    assert_eq!(Tree::new(root).err().unwrap_or_default(), errors);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn takes_what_is_sound() {
    let inner = sup("inner", Strategy::Dynamic, [agent("b")]).intensity(INTENSITY_MAX, 1);
    let child = agent("c").restart(Restart::Temporary).significant();
    let root = sup("root", Strategy::RestForOne, [agent("a"), inner.into(), child]);
    assert_eq!(errors(&root.auto(AutoShutdown::AnySignificant).back_off(1, 1, 100)), Vec::<String>::new());
}

#[test]
fn finds_all_contradictions_of_a_tree_at_once_and_cites_the_rule() {
    let inner = sup("inner", Strategy::Dynamic, [agent("a"), agent("a")]).auto(AutoShutdown::AllSignificant);
    let mut inner = inner.intensity(INTENSITY_MAX + 1, 0).back_off(0, 0, 100);
    inner.significant = true;
    let root = sup("root", Strategy::OneForOne, [agent("a"), inner.into(), agent("b").significant()]);
    let errors = errors(&root);
    for word in [
        "a under inner has the name of a child of root (OTP: duplicate_child_name",
        "inner is significant and permanent",
        "inner is significant, but auto_shutdown of root is never (OTP: bad_combination)",
        "auto_shutdown of inner must be never",
        "the period of inner is 0; it must be at least 1 ms (OTP: invalid_period)",
        "the intensity of inner is 1000001",
        "the back-off of inner is wrong: min_ms is 0",
        "b is significant and permanent",
        "b is significant, but auto_shutdown of root is never",
    ] {
        assert!(errors.iter().any(|error| error.contains(word)), "{word}: {errors:#?}");
    }
    assert_eq!(errors.len(), 10, "the name `a` is wrong twice: {errors:#?}");
}

#[test]
fn names_are_shared_by_agents_supervisors_and_the_root() {
    let root = sup("x", Strategy::OneForOne, [agent("x"), sup("y", Strategy::OneForOne, [agent("y")]).into()]);
    assert_eq!(errors(&root).len(), 2);
}

#[test]
fn back_off_must_grow() {
    for (min, max, factor, expect) in [(0, 5, 100, 1), (5, 4, 100, 1), (5, 5, 99, 1), (5, 5, 100, 0)] {
        assert_eq!(errors(&sup("root", Strategy::OneForOne, []).back_off(min, max, factor)).len(), expect);
    }
}

#[test]
fn the_root_is_nobodys_significant_child() {
    let root = SupervisorSpec { significant: true, ..sup("root", Strategy::OneForOne, []) };
    assert_eq!(check(&root), [SpecError::RootSignificant { supervisor: name("root") }]);
}

#[test]
fn depth_is_bounded_in_specs_and_calls() {
    let tower = |levels: usize| {
        (1..levels).fold(sup("s0", Strategy::OneForOne, []), |inner, n| {
            sup(&format!("s{n}"), Strategy::OneForOne, [ChildSpec::from(inner)])
        })
    };
    assert_eq!(errors(&tower(DEPTH_MAX)), Vec::<String>::new());
    assert_eq!(errors(&tower(DEPTH_MAX + 1)), [format!("s0 is more than {DEPTH_MAX} supervisors deep")]);
    let mut world = World::up(tower(DEPTH_MAX));
    assert_eq!(world.add("s0", agent("a")).map(drop), Ok(()));
    let more = sup("more", Strategy::OneForOne, []);
    assert_eq!(world.add("s0", more), Err("E_SUPERVISION_SPEC".into()));
}
