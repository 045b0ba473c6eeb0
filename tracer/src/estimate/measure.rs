//! The numbers that belong to a node, a site or a function.

use std::ops::AddAssign;

use super::quantile::NORMAL;

/// An estimate and the variance it has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// The estimate itself.
    pub value: f64,
    /// Its variance, in squared units.
    pub variance: f64,
}

impl AddAssign for Estimate {
    /// Adds an estimate that is independent of this one.
    fn add_assign(&mut self, other: Self) {
        self.value += other.value;
        self.variance += other.variance;
    }
}

/// What some set of stacks allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measure {
    /// Samples in it.
    pub samples: u64,
    /// Requested bytes.
    pub bytes: Estimate,
    /// Allocations.
    pub objects: Estimate,
    /// The variance that `bytes` would have if the sum of everything were known: that of its share, times the square of
    /// the sum. The same as that of `bytes` where the sum is exact.
    pub share_variance: f64,
    /// What the number of objects has of variance besides, if samples of others that it is scaled with did not come: for the lower
    /// end of its interval. All others together have it too, so that the number of everything has none.
    pub hidden_variance: f64,
    /// How many bytes less, and how many more, if a hit of a probe costs as little or as much as it may. Not in the variance: all
    /// groups go the same way.
    pub by_cost: [f64; 2],
}

impl Measure {
    /// The variance of the bytes with that of what a hit costs, as if it were normal.
    pub fn variance_with_cost(&self) -> f64 {
        let [less, more] = self.by_cost;
        self.bytes.variance + ((less + more) / (2.0 * NORMAL)).powi(2)
    }
}

impl AddAssign for Measure {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.bytes += other.bytes;
        self.objects += other.objects;
        self.share_variance += other.share_variance;
        self.hidden_variance += other.hidden_variance;
        self.by_cost = [self.by_cost[0] + other.by_cost[0], self.by_cost[1] + other.by_cost[1]];
    }
}

/// Counted on every call, not estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exact {
    /// Calls.
    pub calls: u64,
    /// Requested bytes.
    pub bytes: u64,
}

impl AddAssign for Exact {
    /// Saturates: counters can come from a file.
    fn add_assign(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}
