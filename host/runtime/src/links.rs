//! Links and monitors: who ends with whom, and who is told. Never keeps who is tied to whom: the book of that is in the
//! core.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skep_core::agent::Gate;
use skep_core::link::Signal;
use skep_core::{AgentId, ExitReason};
use skep_store::{Space, Write};

use crate::cell::Cell;
use crate::hive::Hive;
use crate::record::handle;

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
    // Of one on another host it is heard when it is not.
    if let Some(cluster) = hive.cluster.get().filter(|_| hive.is_remote(agent)) {
        return cluster.is_there(hive, agent);
    }
    hive.cell(agent)
        .is_some_and(|cell| !matches!(cell.mind.lock().agent.gate(), Gate::Stopping | Gate::Ended | Gate::Down))
}

/// The write that forgets what a durable agent holds of another.
fn record(hive: &Hive, owner: AgentId, prefix: &str, other: AgentId) -> Option<Write> {
    hive.cell(owner).filter(|cell| cell.is_durable())?;
    let name = hive.directory.name_of(other)?;
    Some(Write::Delete { space: Space::Handle, owner, key: format!("{prefix}{name}").into() })
}

/// The write that forgets a durable agent's monitor.
pub(crate) fn forget_monitor(hive: &Hive, owner: AgentId, other: AgentId) -> Option<Write> {
    record(hive, owner, handle::MONITOR, other)
}

/// An agent has ended: tells who is linked and who watches, once. When the whole host ends nobody is told: then links and
/// monitors are as durable as their agents.
pub(crate) fn exited(hive: &Arc<Hive>, cell: &Arc<Cell>, reason: &ExitReason) {
    if hive.stopping.load(Ordering::Relaxed) {
        return;
    }
    ended(hive, cell.id, reason);
}

/// As `exited`, of an agent of another host, or of all that is known of it here.
pub(crate) fn ended_elsewhere(hive: &Arc<Hive>, agent: AgentId, reason: &ExitReason) {
    if !hive.stopping.load(Ordering::Relaxed) {
        ended(hive, agent, reason);
    }
}

fn ended(hive: &Arc<Hive>, agent: AgentId, reason: &ExitReason) {
    let (signals, linked, watched) = {
        let mut links = hive.links.lock();
        let (linked, watched) = (links.linked(agent), links.watched(agent));
        (links.exited(agent, reason), linked, watched)
    };
    let forgotten = linked
        .into_iter()
        .flat_map(|other| [record(hive, agent, handle::LINK, other), record(hive, other, handle::LINK, agent)])
        .chain(watched.into_iter().map(|other| record(hive, agent, handle::MONITOR, other)));
    hive.commit_later(forgotten.flatten().collect());
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
