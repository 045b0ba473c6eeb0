//! Shares and differences.

use super::measure::Estimate;

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

/// How many standard errors lie between two independent estimates: z = (Y₁ - Y₂) / √(V₁ + V₂). Beyond ±1.96 the
/// difference is significant at 5 %. Two exact values that differ are infinitely far apart; equal ones, 0.
pub fn z(after: Estimate, before: Estimate) -> f64 {
    let difference = after.value - before.value;
    if difference == 0.0 { 0.0 } else { difference / (after.variance + before.variance).sqrt() }
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
        let a = Estimate { value: 130.0, variance: 64.0 };
        let b = Estimate { value: 100.0, variance: 36.0 };
        assert_eq!((z(a, b), z(b, a), z(a, a)), (3.0, -3.0, 0.0));
        let exact = |value| Estimate { value, variance: 0.0 };
        assert_eq!(z(exact(2.0), exact(1.0)), f64::INFINITY);
    }
}
