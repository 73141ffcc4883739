//! The end of sessions, seen from the host: one that is stopped gets its outcome first, and of those that have ended only
//! so many are kept. Never how a session ends.

use std::sync::Arc;
use std::time::Duration;

use skep_core::Bytes;
use skep_core::event::What;

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

/// A session has come to rest: the first that were opened go, if there are more than may be kept.
pub(crate) fn forget_oldest(hive: &Arc<Hive>) {
    for _ in 0..FORGOTTEN_AT_ONCE_MAX {
        let Some(name) = hive.directory.session_over(hive.spec.sessions_kept_max as usize) else { return };
        let Some(rested) = hive.directory.take_rested(&name) else { return };
        hive.commit_later(crate::spawn::purge_writes(rested.id));
        hive.emit(&Default::default(), What::SessionForgotten { session: name });
    }
}
