//! A clock that a test sets forward, in place of waiting. Never one that stands still: what a host waits for goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use skep_core::clock::Clock;
use skep_runtime::RealClock;

/// The system's time and what it was set forward by. Clones are the same clock.
#[derive(Clone, Default)]
pub struct SetClock(Arc<Inner>);

#[derive(Default)]
struct Inner {
    real: RealClock,
    ahead_ns: AtomicU64,
}

impl SetClock {
    /// So much later, from now on.
    pub fn forward(&self, by: Duration) {
        let by_ns = u64::try_from(by.as_nanos()).expect("less than centuries");
        self.0.ahead_ns.fetch_add(by_ns, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn wall_ns(&self) -> u64 {
        self.0.real.wall_ns() + self.0.ahead_ns.load(Ordering::SeqCst)
    }

    fn monotonic_ns(&self) -> u64 {
        self.0.real.monotonic_ns()
    }
}
