//! Sessions that have ended without a place on the disk: their records, for who asks a moment later. Never those that the
//! store has.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use skep_core::Name;

use super::kept::EndedRecord;

/// How many are kept; the oldest go first.
const ENDED_MAX: usize = 1_000;

/// See the module.
#[derive(Default)]
pub(crate) struct EndedSessions(Mutex<Ended>);

#[derive(Default)]
struct Ended {
    by_name: BTreeMap<Name, Arc<EndedRecord>>,
    order: VecDeque<Name>,
}

impl EndedSessions {
    pub(super) fn keep(&self, name: Name, ended: EndedRecord) {
        let mut kept = self.0.lock();
        if kept.by_name.insert(name.clone(), Arc::new(ended)).is_some() {
            kept.order.retain(|other| *other != name);
        }
        kept.order.push_back(name);
        if kept.order.len() > ENDED_MAX
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.by_name.remove(&oldest);
        }
    }

    pub(super) fn get(&self, name: &Name) -> Option<Arc<EndedRecord>> {
        self.0.lock().by_name.get(name).cloned()
    }

    /// Says whether there was one.
    pub(crate) fn remove(&self, name: &Name) -> bool {
        let mut kept = self.0.lock();
        kept.order.retain(|other| other != name);
        kept.by_name.remove(name).is_some()
    }

    /// Their names after this one; at most so many.
    pub(super) fn after(&self, after: &str, count_max: usize) -> Vec<Name> {
        let kept = self.0.lock();
        let later = kept.by_name.keys().filter(|name| name.as_str() > after);
        later.take(count_max).cloned().collect()
    }
}
