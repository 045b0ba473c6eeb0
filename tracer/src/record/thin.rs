//! Fewer samples than were taken, as if they had been taken with a larger interval.
//!
//! Memory for live blocks is bounded, and a heap that only grows passes any bound, whatever the interval of the samples to
//! come. So samples that are there already are thinned: one of S bytes that was taken with interval R, that is with
//! probability p(S, R), is kept with probability p(S, R') / p(S, R) and from then on has the interval R' > R. All in all it
//! is there with probability p(S, R') whatever became of the others, as if R' had been in force when it was taken: every
//! estimate stays unbiased. When to thin may depend on the samples that are there: the draws made here do not.

use super::samples::Samples;
use crate::estimate::inclusion::probability;

/// The smallest interval that samples are thinned to. One that takes every allocation becomes this one.
const LEAST: u64 = 256;
/// Larger intervals have no use.
const MOST: u64 = 1 << 40;

/// Whether a sample of `size` bytes, taken with interval `from`, is kept when the interval becomes `to`; `draw` is uniform in
/// [0, 1).
fn is_kept(size: u64, from: u64, to: u64, draw: f64) -> bool {
    from >= to || draw * probability(size, from) < probability(size, to)
}

/// The interval behind this one.
fn larger(interval: u64) -> u64 {
    (interval * 2).clamp(LEAST, MOST)
}

/// How many of `samples` (size and interval) are expected to be kept.
fn expected(samples: &[(u64, u64)], to: u64) -> f64 {
    let share = |&(size, from): &(u64, u64)| {
        if from >= to { 1.0 } else { probability(size, to) / probability(size, from) }
    };
    samples.iter().map(share).sum()
}

/// The interval at which no more than `wanted` of the samples are expected to be kept; larger than `now`.
pub fn interval_for(samples: &[(u64, u64)], wanted: usize, now: u64) -> u64 {
    let mut interval = larger(now);
    while interval < MOST && expected(samples, interval) > wanted as f64 {
        interval = larger(interval);
    }
    interval
}

/// Thins all samples to an interval. Returns where each is now, by its index of before.
pub fn thin(samples: &mut Samples, to: u64, random: &mut Random) -> Vec<Option<u32>> {
    let mut places = Vec::with_capacity(samples.len());
    let mut kept = 0;
    samples.retain(|sample| {
        let is_kept = is_kept(sample.size, sample.interval, to, random.unit());
        places.push(is_kept.then_some(kept));
        kept += u32::from(is_kept);
        sample.interval = sample.interval.max(to);
        is_kept
    });
    places
}

/// Uniform numbers: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Any seed is as good as any other.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests;
