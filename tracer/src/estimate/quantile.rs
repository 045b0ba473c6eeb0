//! Quantiles of the chi-squared distribution, for real degrees of freedom.

/// 97.5 % quantile of the standard normal distribution.
pub const NORMAL: f64 = 1.959_963_984_540_054;
/// From here on the Wilson-Hilferty approximation is closer than 2 in 10,000.
const MANY: f64 = 100.0;

/// The tail of a two-sided 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// 2.5 %.
    Lower,
    /// 97.5 %.
    Upper,
}

/// The 2.5 % or 97.5 % quantile of chi-squared with `freedom` > 0 degrees of freedom.
///
/// Above 100 degrees by Wilson and Hilferty (Proc. Natl. Acad. Sci. 17 (1931) 684): (X/f)^(1/3) is nearly normal with
/// mean 1 - 2/(9f) and variance 2/(9f). Below, by Newton's method on the incomplete gamma function.
pub fn chi_squared(tail: Tail, freedom: f64) -> f64 {
    let (probability, z): (f64, f64) = match tail {
        Tail::Lower => (0.025, -NORMAL),
        Tail::Upper => (0.975, NORMAL),
    };
    let v = 2.0 / (9.0 * freedom);
    let start = freedom * (1.0 - v + z * v.sqrt()).max(0.0).powi(3);
    if freedom > MANY {
        return start;
    }
    // In terms of the gamma distribution with shape a: P(a, x/2) = probability.
    let a = freedom / 2.0;
    let ln_gamma_a = ln_gamma(a);
    // P(a, x) ~ x^a / Γ(a+1) for small x: where the start is too near 0 to be any good.
    let small = ((probability.ln() + ln_gamma(a + 1.0)) / a).exp();
    let mut x = if start / 2.0 < 0.05 * a { small } else { start / 2.0 };
    let (mut below, mut above) = (0.0, f64::INFINITY);
    for _ in 0..60 {
        let excess = lower_gamma(a, x, ln_gamma_a) - probability;
        if excess > 0.0 {
            above = x;
        } else {
            below = x;
        }
        let slope = ((a - 1.0) * x.ln() - x - ln_gamma_a).exp();
        let mut next = x - excess / slope;
        if !(next > below && next < above) {
            next = if above.is_finite() { f64::midpoint(below, above) } else { 2.0 * x };
        }
        if (next - x).abs() <= 1e-7 * x {
            return 2.0 * next;
        }
        x = next;
    }
    2.0 * x
}

/// The regularized lower incomplete gamma function P(a, x): its series below a + 1, the continued fraction of its
/// complement above, by Lentz's method (Abramowitz and Stegun 6.5.29 and 6.5.31).
fn lower_gamma(a: f64, x: f64, ln_gamma_a: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let front = (a * x.ln() - x - ln_gamma_a).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        for _ in 0..1000 {
            n += 1.0;
            term *= x / n;
            sum += term;
            if term < sum * 1e-15 {
                break;
            }
        }
        return front * sum;
    }
    let mut b = x + 1.0 - a;
    let mut c = f64::MAX;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for i in 1..1000 {
        let i = f64::from(i);
        let numerator = -i * (i - a);
        b += 2.0;
        d = 1.0 / nonzero(numerator * d + b);
        c = nonzero(b + numerator / c);
        let step = d * c;
        fraction *= step;
        if (step - 1.0).abs() < 1e-15 {
            break;
        }
    }
    1.0 - front * fraction
}

/// Keeps a divisor away from 0.
pub(super) fn nonzero(x: f64) -> f64 {
    if x.abs() < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { x }
}

/// ln Γ(x) for x > 0 by Stirling's series (Abramowitz and Stegun 6.1.41), after the recurrence has raised x to 10.
pub(super) fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let r = 1.0 / (x * x);
    let series = (1.0 / 12.0 - r * (1.0 / 360.0 - r * (1.0 / 1260.0 - r / 1680.0))) / x;
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Abramowitz and Stegun, table 26.8 (and its tail for 1 degree: 0.0009820691).
    #[test]
    fn agrees_with_the_printed_tables() {
        let table = [
            (1.0, 0.000_982_069, 5.023_886),
            (2.0, 0.050_635_6, 7.377_759),
            (5.0, 0.831_212, 12.832_50),
            (10.0, 3.246_97, 20.483_2),
            (20.0, 9.590_78, 34.169_6),
            (40.0, 24.433_0, 59.341_7),
            (100.0, 74.221_9, 129.561),
        ];
        for (freedom, low, high) in table {
            for (tail, printed) in [(Tail::Lower, low), (Tail::Upper, high)] {
                let computed = chi_squared(tail, freedom);
                assert!((computed / printed - 1.0).abs() < 2e-6, "{tail:?} {freedom}: {computed} for {printed}");
            }
        }
    }

    /// Abramowitz and Stegun, table 26.10.
    #[test]
    fn the_approximation_takes_over_without_a_step() {
        for tail in [Tail::Lower, Tail::Upper] {
            let (exact, approximate) = (chi_squared(tail, MANY), chi_squared(tail, MANY * (1.0 + 1e-9)));
            assert!((exact / approximate - 1.0).abs() < 2e-4, "{exact} {approximate}");
        }
    }

    #[test]
    fn every_degree_of_freedom_has_ordered_quantiles() {
        for k in -40..250 {
            let freedom = 10f64.powf(f64::from(k) / 10.0);
            let (low, high) = (chi_squared(Tail::Lower, freedom), chi_squared(Tail::Upper, freedom));
            assert!(low >= 0.0 && low < high && high.is_finite(), "{freedom}: {low} {high}");
        }
    }
}
