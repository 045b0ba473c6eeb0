//! A median and how far the values around it lie.

use std::fmt;

/// Median, with the values that 10 % and 90 % of the runs stay below.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    /// Of these values; those that are no numbers were not measured. Without any, all is NaN.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (values.len().saturating_sub(1) as f64 * share).round() as usize;
            values.get(index).copied().unwrap_or(f64::NAN)
        };
        Self { median: at(0.5), low: at(0.1), high: at(0.9) }
    }

    /// Shown with this many digits behind the point.
    pub fn digits(self, digits: usize) -> String {
        let Self { median, low, high } = self;
        if median.is_nan() {
            return "failed".to_owned();
        }
        format!("{median:.digits$} ({low:.digits$} to {high:.digits$})")
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digits(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_that_of_the_middle() {
        let spread = Spread::of((0..=100).rev().map(f64::from));
        assert_eq!(spread, Spread { median: 50.0, low: 10.0, high: 90.0 });
        assert_eq!(spread.digits(0), "50 (10 to 90)");
        assert_eq!(Spread::of([f64::NAN, 1.0]).median, 1.0);
        assert_eq!(Spread::of([]).digits(3), "failed");
    }
}
