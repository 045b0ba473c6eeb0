//! Shares and differences.

use super::measure::Estimate;
use super::student;

/// The share of a part in a whole, when both are estimates and the part lies in the whole.
///
/// r = Yₐ/Y has the variance ((1-r)² Vₐ + r² (V - Vₐ)) / Y²: the linearised ratio, where the part and the rest of the
/// whole are independent (Särndal et al. 1992, section 5.6). Where the whole is exact, divide the calibrated estimate
/// by it instead; that is the same formula. The share of nothing is 0.
pub fn share(part: Estimate, whole: Estimate) -> Estimate {
    if whole.value <= 0.0 {
        return Estimate::default();
    }
    let r = part.value / whole.value;
    let rest = (whole.variance - part.variance).max(0.0);
    Estimate { value: r, variance: ((1.0 - r).powi(2) * part.variance + r * r * rest) / whole.value.powi(2) }
}

/// An amount per second or per unit of work, and how far it may be off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// The amount.
    pub value: f64,
    /// Its variance.
    pub variance: f64,
    /// Degrees of freedom of the variance; infinite where it is as good as known.
    pub freedom: f64,
}

impl Rate {
    /// Half the width of its 95 % interval.
    pub fn margin(self) -> f64 {
        margin(self.variance, self.freedom)
    }
}

/// What lies between two independent rates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Difference {
    /// After less before.
    pub value: f64,
    /// Half the width of its 95 % interval.
    pub margin: f64,
    /// The probability of a difference at least as large by chance alone.
    pub p: f64,
}

/// Welch's test (Biometrika 34 (1947) 28): t = (a - b) / √(Vₐ + V_b), with Satterthwaite's degrees of freedom (Biometrics
/// Bulletin 2 (1946) 110), (Vₐ + V_b)² / (Vₐ²/fₐ + V_b²/f_b).
pub fn difference(before: Rate, after: Rate) -> Difference {
    let value = after.value - before.value;
    let variance = before.variance + after.variance;
    let squares = |rate: Rate| rate.variance * rate.variance / rate.freedom;
    let freedom = variance * variance / (squares(before) + squares(after));
    let freedom = if freedom.is_nan() { f64::INFINITY } else { freedom };
    // Two exact values that differ are infinitely far apart; equal ones not at all.
    let t = if value == 0.0 { 0.0 } else { value / variance.sqrt() };
    Difference { value, margin: margin(variance, freedom), p: student::two_sided(t, freedom) }
}

fn margin(variance: f64, freedom: f64) -> f64 {
    student::quantile(freedom) * variance.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        let whole = Estimate { value: 200.0, variance: 400.0 };
        assert_eq!(share(whole, whole), Estimate { value: 1.0, variance: 0.0 });
        // r = 1/4: (9/16 100 + 1/16 300) / 200².
        let quarter = share(Estimate { value: 50.0, variance: 100.0 }, whole);
        assert_eq!(quarter, Estimate { value: 0.25, variance: 75.0 / 40_000.0 });
        assert_eq!(share(whole, Estimate::default()), Estimate::default());
    }

    #[test]
    fn differences() {
        let rate = |value, variance, freedom| Rate { value, variance, freedom };
        let (a, b) = (rate(130.0, 64.0, f64::INFINITY), rate(100.0, 36.0, f64::INFINITY));
        // 3 standard errors of 10.
        let up = difference(b, a);
        assert!((up.value, up.p) > (29.9, 0.0026) && up.p < 0.0028 && (up.margin - 19.6).abs() < 0.01, "{up:?}");
        let down = difference(a, b);
        assert_eq!((down.value, down.p), (-up.value, up.p));
        assert_eq!((difference(a, a).value, difference(a, a).p), (0.0, 1.0));
        // Welch's degrees of freedom: as many as both have where variances are equal.
        let few = difference(rate(0.0, 50.0, 19.0), rate(20.24, 50.0, 19.0));
        assert!((few.p - 0.05).abs() < 1e-3 && (few.margin - 20.24).abs() < 0.02, "{few:?}");
        let exact = |value| rate(value, 0.0, f64::INFINITY);
        assert_eq!((difference(exact(1.0), exact(2.0)).p, difference(exact(2.0), exact(2.0)).p), (0.0, 1.0));
    }
}
