//! Where the window of an epoch goes.

use std::ops::Range;

/// Places a window in an epoch of `length` nanoseconds so that every moment of the epoch lies in it with the same
/// `probability`. `uniform` is drawn from (0, 1] for this epoch alone.
///
/// A window of w that starts uniformly between 0 and L - w does not do: moments near the ends of the epoch lie in few of
/// its places, and a burst that comes with the beginning of every epoch would hardly ever be seen. So the window starts
/// between -w and L, and what lies outside the epoch is cut off. Every moment then lies in a share w/(L+w) of its places,
/// and w = L p/(1-p) makes this p. Its mean length is p L.
pub fn place(length: u64, probability: f64, uniform: f64) -> Range<u64> {
    let all = length as f64;
    let window = all * probability.clamp(0.0, 1.0) / (1.0 - probability).max(f64::MIN_POSITIVE);
    if window.is_nan() || window > all * 1e9 {
        return 0..length;
    }
    let start = uniform.clamp(0.0, 1.0) * (all + window) - window;
    start.max(0.0).round() as u64..(start + window).min(all).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_is_as_likely_as_any_other() {
        const DRAWS: u32 = 10_000;
        for probability in [0.01, 0.1, 0.5, 0.9] {
            for moment in [0, 1_000, 500_000, 999_999] {
                let draws = (0..DRAWS).map(|i| f64::from(i) / f64::from(DRAWS - 1));
                let seen = draws.filter(|&uniform| place(1_000_000, probability, uniform).contains(&moment)).count();
                let share = seen as f64 / f64::from(DRAWS);
                assert!((share - probability).abs() < 0.002, "{probability} at {moment}: {share}");
            }
        }
    }

    #[test]
    fn all_and_nothing() {
        for uniform in [0.0, 0.3, 1.0] {
            assert_eq!(place(1000, 1.0, uniform), 0..1000);
            assert_eq!(place(1000, 7.0, uniform), 0..1000);
            assert!(place(1000, 0.0, uniform).is_empty());
            assert!(place(1000, -1.0, uniform).is_empty());
        }
    }
}
