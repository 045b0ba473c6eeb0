//! Two independent recordings out of one.
//!
//! Where a question was chosen by its answer, such as "what was in use when most was in use?", the samples that chose it
//! answer it with too much: of many moments, that one looks highest where chance added most. Samples that had no part in the
//! choice do not.
//!
//! Sample points are a Poisson process, and each goes to one of two lots by chance: then both lots are Poisson processes, and
//! independent (Kingman, *Poisson Processes*, 1993, section 5.1). A recording with R bytes between points becomes one with R/a and one with
//! R/b bytes between them, a + b ≤ 1. A block may hold points of both, and those that hold many, or are sampled for certain, are in both.

use super::inclusion::probability;
use crate::recording::{Recording, Sample};

/// The samples of a recording in two lots. Each lot is a recording without stacks and names, to weigh its samples with.
pub struct Lots {
    /// A quarter of the sample points.
    pub first: Recording,
    /// The other three quarters.
    pub second: Recording,
}

impl Lots {
    /// Draws lots. The same recording gives the same ones each time.
    pub fn new(recording: &Recording) -> Self {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (index, sample) in (0..).zip(&recording.samples) {
            // Whole numbers of bytes, and rounded up: the lots must not have more points than there are.
            let intervals =
                (sample.interval.saturating_mul(4), sample.interval.saturating_add(sample.interval.div_ceil(3)));
            let [a, b] = [intervals.0, intervals.1].map(|interval| probability(sample.size, interval));
            // Given that the block is sampled: in both, in the first, in the second, or in none.
            let chance = uniform(index) * probability(sample.size, sample.interval);
            let both = a * b;
            if chance < a || sample.interval == 0 {
                first.push(Sample { interval: intervals.0, ..sample.clone() });
            }
            if chance < both || (a..a + b - both).contains(&chance) || sample.interval == 0 {
                second.push(Sample { interval: intervals.1, ..sample.clone() });
            }
        }
        let lot = |samples: Vec<Sample>| {
            let mut lot = Recording { about: recording.about.clone(), samples, ..Recording::default() };
            // As many of each lot were lost as of all.
            let share = lot.samples.len() as f64 / recording.samples.len().max(1) as f64;
            let losses = &mut lot.about.losses;
            losses.ring_full = (losses.samples() as f64 * share).round() as u64;
            (losses.scratch_busy, losses.undecodable) = (0, 0);
            lot
        };
        Self { first: lot(first), second: lot(second) }
    }
}

/// Uniform in [0, 1): the n-th number of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
fn uniform(n: u64) -> f64 {
    let mut z = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ z >> 31) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    const R: u64 = 1000;

    fn recording(size: u64, samples: usize) -> Recording {
        let sample = Sample { size, interval: R, ..Sample::default() };
        Recording { samples: vec![sample; samples], ..Recording::default() }
    }

    /// Each lot has the samples that a recording with its interval would have, and being in one says nothing of the other.
    #[test]
    fn lots_are_independent_recordings() {
        for size in [10, 700, 3000] {
            // So many blocks that this number of them is sampled.
            let n = 200_000;
            let blocks = f64::from(n) / probability(size, R);
            let Lots { first, second } = Lots::new(&recording(size, n as usize));
            let expected = [4 * R, 1334].map(|interval| blocks * probability(size, interval));
            for (lot, expected) in [&first, &second].into_iter().zip(expected) {
                let error = (lot.samples.len() as f64 - expected) / expected.sqrt();
                assert!(error.abs() < 4.0, "{size}: {} for {expected}", lot.samples.len());
            }
            let both = blocks * probability(size, 4 * R) * probability(size, 1334);
            let neither = blocks * (1.0 - probability(size, 4 * R)) * (1.0 - probability(size, 1334))
                - blocks * (1.0 - probability(size, R));
            let in_both = (first.samples.len() + second.samples.len()) as f64 - f64::from(n) + neither;
            assert!((in_both - both).abs() < 4.0 * both.sqrt() + 1.0, "{size}: {in_both} for {both}");
        }
    }

    #[test]
    fn what_is_certain_is_in_both() {
        let mut recording = recording(1_000_000, 50);
        recording.samples.extend(vec![Sample { size: 8, interval: 0, ..Sample::default() }; 50]);
        let Lots { first, second } = Lots::new(&recording);
        assert_eq!((first.samples.len(), second.samples.len()), (100, 100));
        assert_eq!(second.samples[99].interval, 0);
    }

    #[test]
    fn losses_are_divided_as_the_samples_are() {
        let mut recording = recording(10, 1000);
        recording.about.losses.scratch_busy = 100;
        let Lots { first, second } = Lots::new(&recording);
        assert!((95..=103).contains(&(first.about.losses.samples() + second.about.losses.samples())));
    }

    #[test]
    fn any_numbers_will_do() {
        let mut random = Random::new(1);
        let mut number = || random.bits() >> random.below(64);
        let samples = (0..1000).map(|_| Sample { size: number(), interval: number(), ..Sample::default() });
        Lots::new(&Recording { samples: samples.collect(), ..Recording::default() });
        Lots::new(&Recording::default());
    }
}
