//! What a hit of a probe costs.

use super::measure::Estimate;
use super::quantile::NORMAL;

/// An estimate in nanoseconds, and the band it lies in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// Lower end.
    pub low: f64,
    /// Estimate.
    pub mid: f64,
    /// Upper end.
    pub high: f64,
}

impl Band {
    /// With what windows say: a hit costs no less ([`super::excess`]). What they say of the middle counts by how well each of the two is
    /// known.
    #[must_use]
    pub fn at_least(self, least: Estimate) -> Self {
        let low = self.low.max(least.value - NORMAL * least.variance.sqrt());
        let of_band = ((self.high - self.low) / (2.0 * NORMAL)).powi(2);
        let both = of_band + least.variance;
        if least.value <= self.mid || both <= 0.0 {
            return Self { low: low.min(self.mid), ..self };
        }
        let mid = (self.mid * least.variance + least.value * of_band) / both;
        let left = (of_band * least.variance / both).sqrt();
        Self { low: low.min(mid), mid, high: self.high.max(mid + NORMAL * left) }
    }

    /// Each of the three changed in the same way.
    #[must_use]
    pub fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Self { low: change(self.low), mid: change(self.mid), high: change(self.high) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_say_what_a_hit_costs_at_least() {
        let band = Band { low: 600.0, mid: 900.0, high: 1_600.0 };
        let least = |value: f64, error: f64| band.at_least(Estimate { value, variance: error * error });
        // Little is known of it, or nothing new.
        assert_eq!(least(100.0, 500.0), band);
        assert_eq!(least(880.0, 1.0), Band { low: 880.0 - NORMAL, ..band });
        // Much is.
        let Band { low, mid, high } = least(1_400.0, 50.0);
        assert!((1_300.0..1_310.0).contains(&low) && (1_370.0..1_400.0).contains(&mid), "{low} {mid}");
        assert_eq!(high, 1_600.0);
        let Band { mid, high, .. } = least(2_000.0, 50.0);
        assert!(high > mid && (1_900.0..2_000.0).contains(&mid), "{mid} {high}");
    }
}
