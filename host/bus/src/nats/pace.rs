//! How long everything waits: limits of answers, pauses between attempts. Never decides whether to try again.

use std::time::Duration;

/// How long a server has to answer: a disk that syncs every write answers in milliseconds, a server that is elected anew
/// in seconds.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Trouble is told at most once in this time.
pub(super) const TROUBLE_EVERY: Duration = Duration::from_secs(1);
/// The lease is renewed at most once in this time, however often its host says something new.
pub(super) const SAY_EVERY: Duration = Duration::from_millis(100);
/// How long a host that gives up its lease and drains waits for the server.
pub(super) const CLOSE_MAX: Duration = Duration::from_secs(2);

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(2);

/// Waits.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing tells when a server is well again: trying again is made of time"
)]
pub(super) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Pauses that grow from one failed attempt to the next.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    failed: u32,
}

impl Pauses {
    /// Waits for the next attempt.
    pub(super) async fn next(&mut self) {
        self.failed = self.failed.saturating_add(1);
        pause(back_off(self.failed)).await;
    }

    /// The last attempt worked.
    pub(super) fn reset(&mut self) {
        self.failed = 0;
    }
}

/// The pause after so many failed attempts: doubled each time, capped, and between half and all of it, so that the hosts
/// of a hive do not come back at one instant.
pub(super) fn back_off(failed: u32) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let whole = FIRST.saturating_mul(1 << failed.saturating_sub(1).min(10)).min(LAST);
    let part = u32::try_from(RandomState::new().hash_one(failed) % 1_024).unwrap_or(0);
    whole / 2 + whole / 2_048 * part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_off_grows_to_its_cap() {
        for failed in [1, 2, 5, 100, u32::MAX] {
            let time = back_off(failed);
            assert!(time >= FIRST / 2 && time <= LAST, "{failed}: {time:?}");
        }
        assert!(back_off(1) <= FIRST);
        assert!(back_off(100) >= LAST / 2);
    }
}
