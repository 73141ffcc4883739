//! 100,000 children under one supervisor: were an exit to look at all of them, this would take minutes.

use crate::spec::{Restart, Strategy};

use super::super::{Action, ChildId, Event, Tree};
use super::kit::*;

const CHILDREN: usize = 100_000;

fn tree(strategy: Strategy, restart: Restart) -> Tree {
    let children = (0..CHILDREN).map(|n| agent(&format!("a{n}")).restart(restart));
    Tree::new(&sup("root", strategy, children).intensity(1_000_000, 5_000)).unwrap().start_concurrency_max(64)
}

/// Answers all starts and stops; how many there were.
fn answer(tree: &mut Tree, actions: Vec<Action>) -> (usize, usize) {
    let (mut starts, mut stops) = (0, 0);
    let mut open = vec![actions];
    while let Some(actions) = open.pop() {
        for action in actions {
            match action {
                Action::Start { child } => {
                    starts += 1;
                    open.push(tree.handle(Event::Started { child }, 0));
                }
                Action::Stop { child, .. } => {
                    stops += 1;
                    open.push(tree.handle(Event::Stopped { child }, 0));
                }
                _ => {}
            }
        }
    }
    (starts, stops)
}

fn up(strategy: Strategy, restart: Restart) -> (Tree, Vec<ChildId>) {
    let mut tree = tree(strategy, restart);
    let actions = tree.start(0);
    assert_eq!(answer(&mut tree, actions), (CHILDREN, 0));
    let children = tree.children(tree.root()).collect();
    (tree, children)
}

#[test]
fn an_exit_does_not_look_at_the_siblings() {
    for strategy in [Strategy::OneForOne, Strategy::Dynamic] {
        let (mut tree, children) = up(strategy, Restart::Permanent);
        for &child in &children {
            let actions = tree.handle(Event::Exited { child, reason: crash() }, 0);
            assert_eq!(answer(&mut tree, actions), (1, 0));
        }
        let actions = tree.shutdown(0);
        assert_eq!(answer(&mut tree, actions), (0, CHILDREN));
    }
}

#[test]
fn a_group_is_restarted_in_one_pass() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let (mut tree, children) = up(strategy, Restart::Permanent);
        let actions = tree.handle(Event::Exited { child: children[0], reason: crash() }, 0);
        assert_eq!(answer(&mut tree, actions), (CHILDREN, CHILDREN - 1));
        // The last of the group concerns nobody else.
        for _ in 0..1_000 {
            let child = if strategy == Strategy::RestForOne { children[CHILDREN - 1] } else { break };
            let actions = tree.handle(Event::Exited { child, reason: crash() }, 0);
            assert_eq!(answer(&mut tree, actions), (1, 0));
        }
    }
}

#[test]
fn temporary_children_come_and_go() {
    let (mut tree, children) = up(Strategy::Dynamic, Restart::Temporary);
    for (n, &child) in children.iter().enumerate() {
        assert_eq!(tree.handle(Event::Exited { child, reason: crash() }, 0).len(), 1);
        let spec = agent(&format!("b{n}")).restart(Restart::Temporary);
        let (_, actions) = tree.start_child("root", &spec, 0).unwrap();
        assert_eq!(answer(&mut tree, actions), (1, 0));
    }
    assert_eq!(tree.count(), CHILDREN + 1);
    for n in 0..CHILDREN {
        let actions = tree.terminate_child(&format!("b{n}"), 0).unwrap();
        assert_eq!(answer(&mut tree, actions), (0, 1));
    }
    assert_eq!(tree.count(), 1);
}
