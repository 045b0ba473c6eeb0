//! 95 % intervals.

use super::measure::Estimate;
use super::quantile::{NORMAL, Tail, chi_squared};

/// A two-sided 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// Lower end, not below 0.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// The standard error that a normal distribution would have with this interval.
    pub fn standard_error(self) -> f64 {
        (self.high - self.low) / (2.0 * NORMAL)
    }

    /// The interval of `value`, which has this one, times a factor that is known as well as `other` is, another interval of
    /// `value`: their logarithms add up, and so do the squares of the distances from the estimate to each end (MOVER: Zou and
    /// Donner, Statistics in Medicine 27 (2008) 1693). Neither end is nearer than it was.
    pub fn widened(self, value: f64, other: Self) -> Self {
        if value <= 0.0 {
            return self;
        }
        let to = |a: f64, b: f64| (a / value).ln().hypot((b / value).ln());
        let low = value * (-to(self.low.clamp(0.0, value), other.low.clamp(0.0, value))).exp();
        let high = value * to(self.high.max(value), other.high.max(value)).exp();
        Self { low: low.min(self.low), high: high.max(self.high) }
    }

    /// Both ends divided by a positive number: a rate from an amount, for example.
    pub fn per(self, divisor: f64) -> Self {
        Self { low: self.low / divisor, high: self.high / divisor }
    }
}

/// The interval of a sum of weighted, independent, rare events: Fay and Feuer, Statistics in Medicine 16 (1997) 791.
///
/// ```text
/// low  = V/2Y   χ²(2.5 %;  2Y²/V)
/// high = V'/2Y' χ²(97.5 %; 2Y'²/V')   Y' = Y + u, V' = V + u²
/// ```
///
/// `unit` u is the weight of one event more. For m events of the same weight u this is u times the exact Poisson
/// interval of Garwood (1936), [χ²(2.5 %; 2m)/2, χ²(97.5 %; 2m+2)/2]; for many events it is the normal interval Y ±
/// 1.96 √V. It needs no threshold between the two. Large blocks, whose samples are certain (V = 0), get no error,
/// except that up to 3 u of small blocks may have gone unseen; with no sample at all the upper end is 3.69 u, as it
/// must be for bytes: P(no sample of B bytes) = e^(-B/R), whatever the sizes.
pub fn of_sum(estimate: Estimate, unit: f64) -> Interval {
    let Estimate { value, variance } = estimate;
    let low =
        if value > 0.0 && variance > 0.0 { scaled_quantile(Tail::Lower, value, variance) } else { value.max(0.0) };
    let (next, next_variance) = (value + unit, variance + unit * unit);
    let high = if next_variance > 0.0 { scaled_quantile(Tail::Upper, next, next_variance) } else { value };
    Interval { low, high }
}

/// The interval of a sum whose variance comes from rare events of about the size `unit`, which may be less than all of
/// it: some of it may be certain. The events are a sum V/u in the sense of [`of_sum`].
pub fn of_events(estimate: Estimate, unit: f64) -> Interval {
    let Estimate { value, variance } = estimate;
    if unit <= 0.0 {
        return of_sum(estimate, unit);
    }
    let rare = (variance / unit).min(value.max(0.0));
    let Interval { low, high } = of_sum(Estimate { value: rare, variance }, unit);
    Interval { low: value - rare + low, high: value - rare + high }
}

/// The interval of a part of a whole that is known exactly.
///
/// A part of more than half is the whole less its complement, which is the rarer of the two and has the skewed
/// distribution: a part that has every sample may still not be everything. `estimate` has the variance of the
/// calibrated estimate, which is also its complement's; `part_unit` and `rest_unit` are the weights of one event more
/// in each.
pub fn of_part(estimate: Estimate, part_unit: f64, whole: f64, rest_unit: f64) -> Interval {
    if estimate.value <= whole / 2.0 {
        let Interval { low, high } = of_sum(estimate, part_unit);
        return Interval { low, high: high.min(whole) };
    }
    let rest = of_sum(Estimate { value: (whole - estimate.value).max(0.0), variance: estimate.variance }, rest_unit);
    Interval { low: (whole - rest.high).max(0.0), high: whole - rest.low }
}

/// The quantile of the gamma distribution that has this mean and variance.
fn scaled_quantile(tail: Tail, mean: f64, variance: f64) -> f64 {
    let freedom = (2.0 * mean * mean / variance).max(1e-3);
    chi_squared(tail, freedom) * mean / freedom
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(m: f64) -> Estimate {
        Estimate { value: m * 100.0, variance: m * 100.0 * 100.0 }
    }

    fn near(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1e-9), "{a} is not {b}");
    }

    /// Garwood's limits as printed in Pearson and Hartley, Biometrika Tables for Statisticians I, table 40.
    #[test]
    fn equal_weights_give_the_exact_poisson_interval() {
        for (m, low, high) in [(0.0, 0.0, 3.69), (1.0, 0.0253, 5.57), (4.0, 1.09, 10.24), (10.0, 4.80, 18.39)] {
            let interval = of_sum(events(m), 100.0);
            near(interval.low, 100.0 * low, 0.005);
            near(interval.high, 100.0 * high, 0.001);
        }
    }

    #[test]
    fn two_errors_are_more_than_each_and_less_than_both() {
        let sampled = Interval { low: 90.0, high: 110.0 };
        let widened = sampled.widened(100.0, Interval { low: 70.0, high: 180.0 });
        assert!(widened.low < 70.0 && widened.low > 63.0, "{widened:?}");
        assert!(widened.high > 180.0 && widened.high < 198.0, "{widened:?}");
        let certain = Interval { low: 100.0, high: 100.0 };
        let same = sampled.widened(100.0, certain);
        near(same.low, 90.0, 1e-12);
        near(same.high, 110.0, 1e-12);
        assert_eq!(Interval { low: 0.0, ..sampled }.widened(100.0, certain).low, 0.0);
        assert_eq!(Interval { low: 0.0, high: 5.0 }.widened(0.0, certain), Interval { low: 0.0, high: 5.0 });
    }

    #[test]
    fn many_events_give_the_normal_interval() {
        let interval = of_sum(events(1e6), 100.0);
        near(interval.low, 100.0 * (1e6 - 1.96e3), 1e-5);
        near(interval.high, 100.0 * (1e6 + 1.96e3), 1e-5);
    }

    #[test]
    fn certain_blocks_have_no_error_but_what_went_unseen() {
        let interval = of_sum(Estimate { value: 1e9, variance: 0.0 }, 1e3);
        assert_eq!(interval.low, 1e9);
        near(interval.high - 1e9, 1e3 + 1.96e3, 1e-3);
        assert_eq!(of_sum(Estimate { value: 7.0, variance: 0.0 }, 0.0), Interval { low: 7.0, high: 7.0 });
    }

    #[test]
    fn a_part_with_every_sample_may_not_be_everything() {
        let all = of_part(Estimate { value: 1000.0, variance: 0.0 }, 10.0, 1000.0, 10.0);
        near(all.low, 1000.0 - 36.9, 0.001);
        assert_eq!(all.high, 1000.0);
    }

    #[test]
    fn a_part_and_its_complement_mirror_each_other() {
        let variance = 900.0;
        let small = of_part(Estimate { value: 100.0, variance }, 10.0, 1000.0, 10.0);
        let large = of_part(Estimate { value: 900.0, variance }, 10.0, 1000.0, 10.0);
        near(large.low, 1000.0 - small.high, 1e-12);
        near(large.high, 1000.0 - small.low, 1e-12);
    }
}
