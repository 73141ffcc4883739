//! Durations in a fixed number of buckets, each within an eighth of what it holds. It keeps counts, never samples.

use std::time::Duration;

/// Buckets in each doubling: the error of a quantile is below one part in this many.
const STEPS: u64 = 8;

/// Enough for 2^40 ns, over 18 minutes; what is longer falls into the last one.
const BUCKETS: usize = 38 * STEPS as usize;

/// Counts of durations.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0, max_ns: 0 }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(ns)) {
            *count += 1;
        }
        self.total += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// How many were recorded.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The longest.
    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// What `percent` of them did not exceed; zero if there are none.
    pub(crate) fn percentile(&self, percent: u64) -> Duration {
        let wanted = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(upper_ns(index).min(self.max_ns));
            }
        }
        self.max()
    }
}

/// Values below 8 have their own bucket each, then every doubling has eight.
fn bucket(ns: u64) -> usize {
    let doublings = u64::from(ns.max(STEPS).ilog2() - STEPS.ilog2());
    let index = doublings * STEPS + (ns >> doublings);
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn upper_ns(index: usize) -> u64 {
    let index = index as u64;
    let doublings = (index / STEPS).saturating_sub(1);
    ((index - doublings * STEPS + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_within_an_eighth_of_its_bucket() {
        for ns in (0..4096).chain([1 << 20, (1 << 20) + 12_345, 987_654_321]) {
            let upper = upper_ns(bucket(ns));
            assert!(upper >= ns && upper - ns <= ns / STEPS, "{ns} is counted as {upper}");
        }
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(99), Duration::ZERO);
        (1..=100).for_each(|us| histogram.record(Duration::from_micros(us)));
        let p50 = histogram.percentile(50).as_nanos();
        assert!((50_000..57_000).contains(&p50), "{p50}");
        assert!(histogram.percentile(99) >= Duration::from_micros(99));
        assert_eq!(histogram.percentile(100), Duration::from_micros(100));
        histogram.record(Duration::MAX);
        assert_eq!(histogram.total(), 101);
    }
}
