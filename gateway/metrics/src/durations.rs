//! How long something took, many times over: kept in atomic numbers, so that who records neither waits nor allocates.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, in seconds. One set for everything that is measured: from an answer that is already
/// at hand (0.1 ms) to a disk that keeps a commit waiting (10 s).
const BOUNDS_SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The same in nanoseconds.
const BOUNDS_NANOS: [u64; BOUNDS_SECONDS.len()] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// One more than there are bounds, for what takes longer than the last.
const BUCKET_COUNT: usize = BOUNDS_SECONDS.len() + 1;

const NANOS_PER_SECOND: f64 = 1e9;

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [AtomicU64; BUCKET_COUNT],
    sum_nanos: AtomicU64,
}

impl Durations {
    /// Adds one.
    pub fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NANOS.partition_point(|bound| *bound < nanos);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        // 584 years of nanoseconds fit.
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was recorded so far. One that is being recorded at this moment may be in the count and not yet in the sum.
    pub fn read(&self) -> Recorded {
        Recorded {
            counts: std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed)),
            sum_nanos: self.sum_nanos.load(Ordering::Relaxed),
        }
    }
}

/// What [`Durations`] held at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// By bucket, not summed up.
    counts: [u64; BUCKET_COUNT],
    sum_nanos: u64,
}

impl Recorded {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a sum of 2^53 nanoseconds is 104 days, and from there on a nanosecond or two do not matter"
    )]
    pub fn sum_seconds(&self) -> f64 {
        self.sum_nanos as f64 / NANOS_PER_SECOND
    }

    /// Each bucket's upper bound in seconds, the last one's infinite, and how many fell into it.
    pub(crate) fn buckets(&self) -> [(f64, u64); BUCKET_COUNT] {
        std::array::from_fn(|bucket| {
            let bound = BOUNDS_SECONDS.get(bucket).copied().unwrap_or(f64::INFINITY);
            (bound, self.counts[bucket])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sets_of_bounds_are_the_same_and_ascend() {
        for (seconds, nanos) in BOUNDS_SECONDS.into_iter().zip(BOUNDS_NANOS) {
            assert_eq!(Duration::from_secs_f64(seconds), Duration::from_nanos(nanos));
        }
        assert!(BOUNDS_NANOS.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let durations = Durations::default();
        for nanos in [0, 100_000, 100_001, 10_000_000_000, 10_000_000_001, u64::MAX / 4] {
            durations.record(Duration::from_nanos(nanos));
        }
        let buckets = durations.read().buckets();
        let counts: Vec<u64> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts[..3], [2, 1, 0]);
        assert_eq!(counts[15..], [1, 2]);
        assert_eq!(buckets[16].0, f64::INFINITY);
        assert_eq!(durations.read().count(), 6);
    }

    #[test]
    fn the_sum_is_in_seconds() {
        let durations = Durations::default();
        durations.record(Duration::from_millis(1_500));
        durations.record(Duration::from_millis(250));
        assert_eq!(durations.read().sum_seconds(), 1.75);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let durations = Durations::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|micros| durations.record(Duration::from_micros(micros))));
            }
        });
        let recorded = durations.read();
        assert_eq!(recorded.count(), 40_000);
        assert_eq!(recorded.sum_nanos, 4 * (0..10_000).sum::<u64>() * 1_000);
    }
}
