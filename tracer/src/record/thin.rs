//! Fewer samples than were taken, as if they had been taken with a larger interval.
//!
//! Memory is bounded, and a recording that goes on for ever passes any bound, whatever the interval of the samples to
//! come. So samples that are there already are thinned: one of S bytes that was taken with interval R, that is with
//! probability p(S, R), is kept with probability p(S, R') / p(S, R) and from then on has the interval R' > R. All in all it
//! is there with probability p(S, R') whatever became of the others, as if R' had been in force when it was taken.
//!
//! Which samples are thinned, and when, may depend on everything that happened so far, such as whether their blocks were
//! released: a draw multiplies the weight of a sample by 1/q with probability q and by 0 otherwise, so that its mean stays what it
//! was, and every sum of weights stays unbiased (the weights are a martingale).
//!
//! Ticks of CPU time stand for their period: of those of period T one in T'/T is kept and stands for T'.

use std::collections::HashMap;

use super::samples::{Samples, StoredSample};
use crate::estimate::inclusion::probability;

/// The smallest interval that samples are thinned to. One that takes every allocation becomes this one.
const LEAST: u64 = 256;
/// Larger intervals have no use.
const MOST: u64 = 1 << 40;

/// What samples are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes: a sample stands for the more objects the smaller they are.
    Bytes,
    /// Time: a sample is a tick and stands for its size, which is its interval.
    Time,
}

impl Unit {
    /// The probability that a sample of `size`, taken with interval `from`, is kept when the interval becomes `to`.
    fn share(self, size: u64, from: u64, to: u64) -> f64 {
        match self {
            _ if from >= to => 1.0,
            Self::Bytes => probability(size, to) / probability(size, from),
            Self::Time => from as f64 / to as f64,
        }
    }
}

/// The interval behind this one.
fn larger(interval: u64) -> u64 {
    (interval * 2).clamp(LEAST, MOST)
}

/// How many samples there are of each size and interval: programs ask for few sizes.
#[derive(Clone, Debug)]
pub struct Sizes {
    unit: Unit,
    counts: HashMap<(u64, u64), u32>,
}

impl Sizes {
    /// Of these samples.
    pub fn of<'a>(unit: Unit, samples: impl Iterator<Item = &'a StoredSample>) -> Self {
        let mut counts = HashMap::new();
        for sample in samples {
            *counts.entry((sample.size, sample.interval)).or_default() += 1;
        }
        Self { unit, counts }
    }

    /// How many are expected to be kept.
    fn expected(&self, to: u64) -> f64 {
        self.counts.iter().map(|(&(size, from), &count)| f64::from(count) * self.unit.share(size, from, to)).sum()
    }

    /// The interval at which no more than `wanted` of the samples are expected to be kept; larger than `now`.
    pub fn interval_for(&self, wanted: usize, now: u64) -> u64 {
        let mut interval = larger(now);
        while interval < MOST && self.expected(interval) > wanted as f64 {
            interval = larger(interval);
        }
        interval
    }
}

/// Thins samples to an interval: those whose index `may_go` names. Returns where each is now, by its index of before.
pub fn thin(
    samples: &mut Samples,
    unit: Unit,
    to: u64,
    may_go: impl Fn(usize) -> bool,
    random: &mut Random,
) -> Vec<Option<u32>> {
    let mut places = Vec::with_capacity(samples.len());
    let mut kept = 0;
    samples.retain(|sample| {
        let is_kept = !may_go(places.len()) || {
            let share = unit.share(sample.size, sample.interval, to);
            sample.interval = sample.interval.max(to);
            if unit == Unit::Time {
                sample.size = sample.interval;
            }
            random.unit() < share
        };
        places.push(is_kept.then_some(kept));
        kept += u32::from(is_kept);
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
pub(super) mod tests;
