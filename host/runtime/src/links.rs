//! Links and monitors: who ends with whom, and who is told.

use std::sync::Arc;

use skep_core::agent::Gate;
use skep_core::link::Signal;
use skep_core::{AgentId, ExitReason};

use crate::cell::Cell;
use crate::hive::Hive;

/// Links two agents, or ends that.
pub(crate) fn link(hive: &Arc<Hive>, cell: &Arc<Cell>, other: AgentId, on: bool) {
    let mut links = hive.links.lock();
    if on {
        // Under the lock: an end that comes after it finds the link.
        let signal = links.link(cell.id, other, is_there(hive, other));
        drop(links);
        perform(hive, signal.into_iter().collect());
    } else {
        links.unlink(cell.id, other);
    }
}

/// Monitors an agent, or ends that.
pub(crate) fn monitor(hive: &Arc<Hive>, cell: &Arc<Cell>, other: AgentId, on: bool) {
    let mut links = hive.links.lock();
    if on {
        let signal = links.monitor(cell.id, other, is_there(hive, other));
        drop(links);
        perform(hive, signal.into_iter().collect());
    } else {
        links.demonitor(cell.id, other);
    }
}

fn is_there(hive: &Hive, agent: AgentId) -> bool {
    hive.cell(agent)
        .is_some_and(|cell| !matches!(cell.mind.lock().agent.gate(), Gate::Stopping | Gate::Ended | Gate::Down))
}

/// An agent has ended: tells who is linked and who watches.
pub(crate) fn exited(hive: &Arc<Hive>, cell: &Arc<Cell>, reason: &ExitReason) {
    let signals = hive.links.lock().exited(cell.id, reason);
    perform(hive, signals);
}

fn perform(hive: &Arc<Hive>, signals: Vec<Signal>) {
    for signal in signals {
        match signal {
            Signal::Down { to, from, reason } => {
                if let Some(cell) = hive.cell(to) {
                    crate::spawn::tell_down(hive, &cell, from, &reason);
                }
            }
            Signal::Exit { to, reason, .. } => {
                let hive = hive.clone();
                // A chain of links may be long: each end is a step of its own, not a deeper call.
                hive.scheduler.handle().clone().spawn(async move {
                    if let Some(cell) = hive.cell(to) {
                        crate::lifecycle::exit(&hive, &cell, reason);
                    }
                });
            }
        }
    }
}
