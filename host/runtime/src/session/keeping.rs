//! The end of sessions, seen from the host: one that is stopped gets its outcome first, and of those that have ended only
//! so many are kept. Never how a session ends.

use std::sync::Arc;
use std::time::Duration;

use skep_core::Bytes;
use skep_core::event::What;
use skep_core::spec::{AgentSpec, Budget, Restart};

use super::mail;
use crate::cell::Cell;
use crate::hive::Hive;
use crate::outside::AskOptions;

/// How long a session may take to end when it is stopped.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);
/// The most that are removed when one ends: more are there only after the bound was lowered.
const FORGOTTEN_AT_ONCE_MAX: usize = 1_000;

/// Ends a session that is about to be stopped for good. One that cannot take the message in time has no outcome: whoever
/// waits for it is told of its end, as of any agent's.
pub(crate) async fn stop(hive: &Arc<Hive>, cell: &Cell, why: &str) {
    if cell.component.lock().protocol().is_none() {
        return;
    }
    let options = AskOptions { timeout: STOP_TIME_MAX, ..AskOptions::default() };
    let body = Bytes::copy_from_slice(why.as_bytes());
    drop(crate::outside::ask(hive, cell.name.as_str(), mail::STOP, body, options).await);
}

/// What a session's agent is beside its declaration: it goes on after a failure and not after its end, and its messages are
/// tried more than once.
pub(crate) fn suit(spec: &mut AgentSpec) {
    spec.restart = Restart::Transient;
    spec.budget.attempts_max = spec.budget.attempts_max.max(Budget::default().attempts_max);
}

/// Why an agent of a protocol cannot be a session, if it cannot.
pub(crate) fn unsuited(hive: &Hive, spec: &AgentSpec) -> Option<String> {
    let is_session = hive.plugins.read().get(&spec.plugin).is_some_and(|entry| entry.component.protocol().is_some());
    let why = "its plugin is a protocol, and a session is started again after a failure only: restart is transient";
    (is_session && spec.restart != Restart::Transient).then(|| format!("agent {}: {why}", spec.name))
}

/// A session has come to rest: the first that were opened go, if there are more than may be kept.
pub(crate) fn forget_oldest(hive: &Arc<Hive>) {
    for _ in 0..FORGOTTEN_AT_ONCE_MAX {
        let Some(name) = hive.directory.session_over(hive.spec.sessions_kept_max as usize) else { return };
        let Some(rested) = hive.directory.take_rested(&name) else { return };
        hive.commit_later(crate::spawn::purge_writes(rested.id));
        hive.emit(&Default::default(), What::SessionForgotten { session: name });
    }
}
