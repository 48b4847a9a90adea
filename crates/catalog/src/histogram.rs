//! Histogram of durations.

use std::time::Duration;

/// Upper bounds of the buckets, seconds. The last bucket has none.
const BOUNDS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Histogram of durations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram {
    /// Number of durations in each bucket, the last of which has no upper bound.
    buckets: [u64; BOUNDS.len() + 1],
    /// Sum of all durations, seconds.
    sum: f64,
}

impl Histogram {
    /// Adds a duration.
    pub(crate) fn add(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        self.buckets[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        self.sum += seconds;
    }

    /// Returns the sum of all durations, seconds.
    pub(crate) fn sum(&self) -> f64 {
        self.sum
    }

    /// Returns the number of durations.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns the upper bounds and the numbers of the buckets, which are not cumulative.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        BOUNDS.into_iter().chain([f64::INFINITY]).zip(self.buckets).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_belong_to_the_bucket_below_its_bound() {
        let mut histogram = Histogram::default();
        for millis in [0, 1, 2, 100, 10_000, 10_001] {
            histogram.add(Duration::from_millis(millis));
        }
        let filled: Vec<_> =
            histogram.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.001, 2), (0.005, 1), (0.1, 1), (10.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(histogram.count(), 6);
        assert!((histogram.sum() - 20.104).abs() < 1e-9, "{}", histogram.sum());
    }
}
