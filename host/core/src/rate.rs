//! How much in a second: messages, bytes, log lines. Never waits; what is over the rate is refused and counted.

/// One second, in nanoseconds.
const SECOND_NS: u64 = 1_000_000_000;

/// A bucket that holds one second's worth and fills at the rate. Kept as the moment at which it will be full again, so
/// that it costs nothing while nothing happens.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    per_s_max: u64,
    full_at_ns: u64,
    suppressed: u64,
}

impl Bucket {
    /// A full bucket. A rate of 0 lets nothing through.
    pub fn new(per_s_max: u64) -> Self {
        Self { per_s_max, full_at_ns: 0, suppressed: 0 }
    }

    /// Takes `count` if there are as many, all or none; none are counted as suppressed. `now_ns` is monotonic time.
    ///
    /// What is more than a second's worth by itself passes when the bucket is full, and is paid off before anything
    /// else passes: otherwise it never could.
    pub fn take(&mut self, now_ns: u64, count: u64) -> bool {
        let Some(cost_ns) = self.cost_ns(count) else { return self.suppress(count) };
        let missing_ns = self.full_at_ns.saturating_sub(now_ns);
        if missing_ns > 0 && missing_ns.saturating_add(cost_ns) > SECOND_NS {
            return self.suppress(count);
        }
        self.full_at_ns = now_ns.saturating_add(missing_ns).saturating_add(cost_ns);
        true
    }

    /// The rate, for messages about it.
    pub fn per_s_max(&self) -> u64 {
        self.per_s_max
    }

    /// What was refused since `take_suppressed`.
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// What was refused since this was asked last.
    pub fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }

    /// How long `count` take to be filled again, rounded up; none: for ever.
    fn cost_ns(&self, count: u64) -> Option<u64> {
        if self.per_s_max == 0 {
            return None;
        }
        // A division of 64 bits is several times as fast, and this is done for every message.
        if let Some(count_ns) = count.checked_mul(SECOND_NS) {
            return Some(count_ns.div_ceil(self.per_s_max));
        }
        let cost = (u128::from(count) * u128::from(SECOND_NS)).div_ceil(u128::from(self.per_s_max));
        Some(u64::try_from(cost).unwrap_or(u64::MAX))
    }

    fn suppress(&mut self, count: u64) -> bool {
        self.suppressed = self.suppressed.saturating_add(count);
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_seconds_worth_passes_at_once_and_then_the_rate() {
        let mut bucket = Bucket::new(10);
        assert!((0..10).all(|_| bucket.take(5, 1)));
        assert!(!bucket.take(5, 1));
        assert!(!bucket.take(SECOND_NS / 10, 1));
        assert!(bucket.take(5 + SECOND_NS / 10, 1));
        assert!(!bucket.take(5 + SECOND_NS / 10, 1));
    }

    #[test]
    fn what_was_refused_is_told_once() {
        let mut bucket = Bucket::new(1);
        assert!(bucket.take(0, 1));
        assert!(!bucket.take(0, 3));
        assert!(!bucket.take(0, 1));
        assert_eq!(bucket.take_suppressed(), 4);
        assert_eq!(bucket.take_suppressed(), 0);
    }

    #[test]
    fn what_is_larger_than_the_bucket_passes_when_it_is_full_and_is_paid_off() {
        let mut bucket = Bucket::new(100);
        assert!(bucket.take(0, 300));
        assert!(!bucket.take(2 * SECOND_NS, 1));
        assert!(bucket.take(2 * SECOND_NS + SECOND_NS / 100, 1));
        assert!(!bucket.take(2 * SECOND_NS + SECOND_NS / 100, 300));
    }

    #[test]
    fn refuses_everything_at_rate_zero() {
        assert!(!Bucket::new(0).take(u64::MAX, 1));
    }

    #[test]
    fn the_largest_numbers_are_no_trouble() {
        let mut bucket = Bucket::new(u64::MAX);
        assert!(bucket.take(0, u64::MAX));
        assert!(bucket.take(u64::MAX, u64::MAX));
        assert!(Bucket::new(1).take(u64::MAX, u64::MAX));
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_one_second(
            per_s_max in 1u64..1_000,
            takes in prop::collection::vec((0u64..SECOND_NS, 1u64..50), 1..100),
        ) {
            let mut bucket = Bucket::new(per_s_max);
            let (mut now_ns, mut passed) = (0u64, 0u64);
            for (pause_ns, count) in takes {
                now_ns += pause_ns;
                if bucket.take(now_ns, count.min(per_s_max)) {
                    passed += count.min(per_s_max);
                }
                let most = u128::from(per_s_max) * u128::from(now_ns + SECOND_NS) / u128::from(SECOND_NS);
                prop_assert!(u128::from(passed) <= most);
            }
        }
    }
}
