//! How often a supervisor restarts and how long it waits: the window of its intensity and the back-off. Time is given.
//! Never which child.

use std::collections::VecDeque;

use crate::spec::{AutoShutdown, BackOff, Strategy, SupervisorSpec};

/// The rules of one supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whom a restart concerns.
    pub strategy: Strategy,
    /// More restarts than this within `period_ms` escalate.
    pub intensity: u32,
    /// The window.
    pub period_ms: u32,
    /// When it ends by itself.
    pub auto_shutdown: AutoShutdown,
    /// Waiting before restarts.
    pub back_off: Option<BackOff>,
}

impl Policy {
    pub(super) fn of(spec: &SupervisorSpec) -> Self {
        Self {
            strategy: spec.strategy,
            intensity: spec.intensity,
            period_ms: spec.period_ms,
            auto_shutdown: spec.auto_shutdown,
            back_off: spec.back_off,
        }
    }

    /// Whether a restart concerns more than the child itself.
    pub(super) fn is_grouped(&self) -> bool {
        matches!(self.strategy, Strategy::OneForAll | Strategy::RestForOne)
    }
}

/// The restarts of the last period.
#[derive(Debug, Default)]
pub(super) struct Window {
    times_ns: VecDeque<u64>,
}

impl Window {
    /// Counts a restart; how many there are in the window, this one included. OTP keeps an entry `R` while
    /// `R >= now - period`: the window includes both its ends. Never holds more than intensity + 1, for the caller
    /// gives up then.
    pub(super) fn add(&mut self, now_ns: u64, period_ms: u32) -> u32 {
        while self.times_ns.front().is_some_and(|&time_ns| is_over(time_ns, now_ns, period_ms)) {
            self.times_ns.pop_front();
        }
        self.times_ns.push_back(now_ns);
        u32::try_from(self.times_ns.len()).unwrap_or(u32::MAX)
    }

    /// How many restarts are in the window now.
    pub(super) fn count(&self, now_ns: u64, period_ms: u32) -> u32 {
        let over = self.times_ns.partition_point(|&time_ns| is_over(time_ns, now_ns, period_ms));
        u32::try_from(self.times_ns.len() - over).unwrap_or(u32::MAX)
    }

    /// Forgets all: a supervisor that starts again starts with an empty window.
    pub(super) fn clear(&mut self) {
        self.times_ns = VecDeque::new();
    }
}

fn is_over(time_ns: u64, now_ns: u64, period_ms: u32) -> bool {
    time_ns.saturating_add(u64::from(period_ms) * 1_000_000) < now_ns
}

/// How long the `streak`th wait in a row is (from 0), in nanoseconds.
pub(super) fn wait_ns(back_off: &BackOff, streak: u32) -> u64 {
    let mut wait_us = u64::from(back_off.min_ms) * 1_000;
    let max_us = u64::from(back_off.max_ms) * 1_000;
    // A factor over 100 % reaches the maximum in few steps; one of 100 % never does, and need not be repeated.
    if back_off.factor_percent > 100 {
        for _ in 0..streak {
            if wait_us >= max_us {
                break;
            }
            wait_us = (wait_us.saturating_mul(u64::from(back_off.factor_percent)) / 100).max(wait_us + 1);
        }
    }
    wait_us.min(max_us) * 1_000
}

/// How long a child must have run for its next wait to be the first of a row again, in nanoseconds.
pub(super) fn forgiven_ns(back_off: &BackOff) -> u64 {
    u64::from(back_off.max_ms) * 1_000_000
}
