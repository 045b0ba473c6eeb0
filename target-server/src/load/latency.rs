//! Percentiles of measured times.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Percentiles (nearest rank) of measured times, in microseconds. All are 0 where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Number of measurements.
    pub count: u64,
    /// Median.
    pub p50_us: u64,
    /// 90th percentile.
    pub p90_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// Largest.
    pub max_us: u64,
}

impl Latency {
    /// Percentiles of these times, in any order.
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<u64> =
            times.into_iter().map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)).collect();
        sorted.sort_unstable();
        let Some(&max_us) = sorted.last() else {
            return Self::default();
        };
        let rank = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100) - 1];
        Self { count: sorted.len() as u64, p50_us: rank(50), p90_us: rank(90), p99_us: rank(99), max_us }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p90, p99, max] = [self.p50_us, self.p90_us, self.p99_us, self.max_us].map(|us| us as f64 / 1000.0);
        write!(f, "median {p50:.2} ms, 90 % {p90:.2} ms, 99 % {p99:.2} ms, max {max:.2} ms ({} measured)", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let times = (1..=200).rev().map(Duration::from_micros);
        let latency = Latency::of(times);
        assert_eq!(latency, Latency { count: 200, p50_us: 100, p90_us: 180, p99_us: 198, max_us: 200 });
        let one = Latency::of([Duration::from_millis(3)]);
        assert_eq!((one.p50_us, one.p99_us, one.count), (3000, 3000, 1));
        assert_eq!(Latency::of([]), Latency::default());
    }
}
