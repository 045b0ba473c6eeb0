//! The probability that an allocation is sampled, and what a sample of it stands for.

use super::measure::{Estimate, Measure};

/// The probability that an allocation of `size` bytes is sampled at a mean distance of `interval` bytes between sample
/// points: p = 1 - e^(-S/R). Interval 0 means that every allocation is sampled: p = 1.
///
/// An allocation of 0 bytes holds no sample point; where one was sampled nevertheless, it counts as 1 byte, so that p
/// is never 0. `expm1` keeps the digits that 1 - e^(-x) loses where S is far below R.
pub fn probability(size: u64, interval: u64) -> f64 {
    if interval == 0 { 1.0 } else { -(-(size.max(1) as f64) / interval as f64).exp_m1() }
}

/// What one sample of `size` bytes adds to estimates and their variances, when a share `kept` of the samples taken is
/// in the recording: with p = [`probability`] x `kept`,
///
/// * bytes S/p, objects 1/p (Horvitz and Thompson, J. Am. Stat. Assoc. 47 (1952) 663);
/// * variance of bytes S² (1-p) / p², of objects (1-p) / p²: their sums over the samples are unbiased estimates of the
///   variances S² (1-p) / p and (1-p) / p summed over all allocations (Särndal, Swensson and Wretman, *Model Assisted
///   Survey Sampling*, 1992, section 3.5 on Poisson sampling).
///
/// `kept` lies in (0, 1].
pub fn weigh(size: u64, interval: u64, kept: f64) -> Measure {
    let p = probability(size, interval) * kept;
    let size = size as f64;
    let objects = Estimate { value: 1.0 / p, variance: (1.0 - p) / (p * p) };
    Measure {
        samples: 1,
        bytes: Estimate { value: size * objects.value, variance: size * size * objects.variance },
        objects,
        share_variance: 0.0,
        ..Measure::default()
    }
}

/// What a tick of CPU time stands for, when a share `kept` of the ticks is in the recording: `period` nanoseconds each.
///
/// Ticks fall on a function as often as it runs, at moments that do not depend on it: their number is at most as variable as a
/// Poisson variable with the same mean, whose variance is that mean. (A whole thread that never sleeps gets its ticks regularly,
/// and its interval is wider than it need be.)
pub fn weigh_tick(period: u64, kept: f64) -> Measure {
    let objects = Estimate { value: 1.0 / kept, variance: 1.0 / (kept * kept) };
    let period = period as f64;
    let bytes = Estimate { value: period * objects.value, variance: period * period * objects.variance };
    Measure { samples: 1, bytes, objects, share_variance: bytes.variance, ..Measure::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_stands_for_its_period() {
        let tick = weigh_tick(10_000_000, 0.5);
        assert_eq!((tick.bytes.value, tick.bytes.variance), (2e7, 4e14));
        assert_eq!((tick.objects.value, tick.objects.variance), (2.0, 4.0));
    }

    #[test]
    fn probability_at_its_ends() {
        assert_eq!(probability(5, 0), 1.0);
        assert_eq!(probability(0, 0), 1.0);
        assert_eq!(probability(u64::MAX, 1), 1.0);
        // p = S/R (1 - S/2R + ...) far below R: no digit is lost.
        let p = probability(1, 1 << 50);
        assert!((p * (1u64 << 50) as f64 - 1.0).abs() < 1e-12, "{p:e}");
        assert!(probability(0, 1024) > 0.0);
    }

    #[test]
    fn weights_of_small_equal_and_large_blocks() {
        // S << R: a sample stands for R bytes with variance R².
        let small = weigh(8, 1 << 20, 1.0);
        assert!((small.bytes.value / f64::from(1 << 20) - 1.0).abs() < 1e-5);
        assert!((small.bytes.variance / f64::from(1 << 20).powi(2) - 1.0).abs() < 1e-4);
        // S = R: 1 / (1 - 1/e) objects.
        let equal = weigh(1 << 20, 1 << 20, 1.0);
        assert!((equal.objects.value - 1.581_976_706_869_326_5).abs() < 1e-12);
        // S >> R: itself, for certain.
        let large = weigh(1 << 30, 1 << 20, 1.0);
        assert_eq!((large.bytes.value, large.bytes.variance), (f64::from(1 << 30), 0.0));
    }

    #[test]
    fn a_lost_half_doubles_the_weight() {
        let half = weigh(1 << 30, 1 << 20, 0.5);
        assert_eq!((half.objects.value, half.objects.variance), (2.0, 2.0));
    }
}
