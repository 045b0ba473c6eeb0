//! Student's t distribution, for real degrees of freedom.

use super::quantile::{NORMAL, ln_gamma, nonzero};

/// From here on it is taken for this many degrees: within 0.1 % of the normal distribution up to 3 standard errors.
const MANY: f64 = 10_000.0;

/// The probability of a value at least as far from 0 as `t`, on either side: I_x(f/2, 1/2) with x = f / (f + t²), the
/// regularized incomplete beta function (Abramowitz and Stegun 26.7.1 and 26.5.27). `freedom` is at least 1, and may be
/// infinite.
pub fn two_sided(t: f64, freedom: f64) -> f64 {
    if t.is_nan() {
        return 1.0;
    }
    if t.is_infinite() {
        return 0.0;
    }
    let freedom = freedom.clamp(1.0, MANY);
    incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5)
}

/// 97.5 % quantiles of Student's distribution with 1 to 10 degrees of freedom (Abramowitz and Stegun, table 26.10).
const STUDENT: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];

/// The 97.5 % quantile of Student's distribution with `freedom` degrees of freedom, 1 at least.
///
/// Between whole degrees below 10 straight in 1/f, which is a little too large, never too small; above, by the expansion in
/// 1/f (Abramowitz and Stegun 26.7.5).
pub fn quantile(freedom: f64) -> f64 {
    let freedom = freedom.clamp(1.0, MANY);
    let below = freedom as usize;
    if let (Some(&before), Some(&after)) = (STUDENT.get(below - 1), STUDENT.get(below)) {
        let (f, g) = (below as f64, below as f64 + 1.0);
        return after + (before - after) * (1.0 / freedom - 1.0 / g) / (1.0 / f - 1.0 / g);
    }
    let z = NORMAL;
    let (cubic, quintic) = ((z.powi(3) + z) / 4.0, (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0);
    let septic = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + cubic / freedom + quintic / freedom.powi(2) + septic / freedom.powi(3)
}

/// I_x(a, b) by its continued fraction (Abramowitz and Stegun 26.5.8) with Lentz's method, from the side on which it
/// converges fast.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(x, a, b) / a
    } else {
        1.0 - front * fraction(1.0 - x, b, a) / b
    }
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    let mut c = 1.0;
    let mut d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in 1..2000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for numerator in [even, odd] {
            d = 1.0 / nonzero(1.0 + numerator * d);
            c = nonzero(1.0 + numerator / c);
            step = c * d;
            fraction *= step;
        }
        if (step - 1.0).abs() < 1e-14 {
            break;
        }
    }
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles as printed in Abramowitz and Stegun, table 26.10: degrees, two-sided probability, t.
    #[test]
    fn agrees_with_the_printed_tables() {
        for (freedom, probability, t) in [
            (1.0, 0.05, 12.706),
            (5.0, 0.05, 2.571),
            (19.0, 0.05, 2.093),
            (19.0, 0.01, 2.861),
            (30.0, 0.001, 3.646),
            (40.0, 0.05, 2.021),
            (120.0, 0.01, 2.617),
            (f64::INFINITY, 0.05, 1.960),
            (f64::INFINITY, 0.001, 3.291),
        ] {
            let computed = two_sided(t, freedom);
            assert!((computed / probability - 1.0).abs() < 2e-3, "{freedom} {t}: {computed} for {probability}");
        }
        for (freedom, t) in [(5.0, 2.571), (19.0, 2.093), (38.0, 2.024), (120.0, 1.980), (f64::INFINITY, 1.960)] {
            assert!((quantile(freedom) / t - 1.0).abs() < 1e-3, "{freedom}: {}", quantile(freedom));
        }
    }

    #[test]
    fn quantiles_agree_with_the_printed_table() {
        for (freedom, printed) in
            [(1.0, 12.706), (3.0, 3.182), (10.0, 2.228), (20.0, 2.086), (60.0, 2.000), (1e9, 1.960)]
        {
            assert!((quantile(freedom) - printed).abs() < 6e-4, "{freedom}: {} for {printed}", quantile(freedom));
        }
        // Between: never too small. For 1.5 degrees it is 6.62.
        assert!(quantile(1.5) > 6.62 && quantile(1.5) < quantile(1.4));
        assert!(
            (quantile(0.1), quantile(9.999)) == (12.706, quantile(9.999))
                && (quantile(9.9999) - quantile(10.0)).abs() < 1e-3
        );
    }

    #[test]
    fn its_ends() {
        assert_eq!((two_sided(0.0, 5.0), two_sided(f64::INFINITY, 5.0), two_sided(f64::NAN, 5.0)), (1.0, 0.0, 1.0));
        let far = two_sided(40.0, f64::INFINITY);
        assert!((0.0..1e-100).contains(&far), "{far}");
        assert_eq!(two_sided(-2.0, 7.0), two_sided(2.0, 7.0));
    }

    #[test]
    fn probability_falls_with_distance_and_quantile_with_freedom() {
        for freedom in [1.0, 2.5, 19.0, 500.0, 1e9] {
            let row: Vec<f64> = (0..200).map(|i| two_sided(f64::from(i) / 10.0, freedom)).collect();
            assert!(row.windows(2).all(|pair| pair[1] <= pair[0] && pair[1] >= 0.0), "{freedom}");
        }
        assert!((5..1000).all(|f| quantile(f64::from(f + 1)) <= quantile(f64::from(f))));
    }
}
