//! Whether a goal was reached.

use std::fmt;

use tracer::estimate::student;

use super::spread::Spread;

/// What a measurement says of a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Reached.
    Met,
    /// Not reached.
    NotMet,
    /// The interval holds values on both sides of the goal.
    Noise,
    /// There is nothing to judge by.
    NotMeasured,
}

impl Verdict {
    /// Of a number that stands for itself; NaN was not measured.
    pub fn at_most(value: f64, limit: f64) -> Self {
        if value.is_nan() {
            Self::NotMeasured
        } else if value <= limit {
            Self::Met
        } else {
            Self::NotMet
        }
    }

    /// The other way round.
    pub fn at_least(value: f64, limit: f64) -> Self {
        Self::at_most(-value, -limit)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::NotMet => "not met",
            Self::Noise => "cannot be told apart from noise",
            Self::NotMeasured => "not measured",
        })
    }
}

/// The mean of paired measurements, with its 95 % interval by Student's distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// Half the interval; infinite for a single measurement.
    pub margin: f64,
    /// Measurements.
    pub count: usize,
}

impl Mean {
    /// Of these values; those that are no numbers were not measured.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let count = values.len();
        let value = values.iter().sum::<f64>() / count as f64;
        let freedom = count as f64 - 1.0;
        let variance = values.iter().map(|each| (each - value).powi(2)).sum::<f64>() / freedom;
        let margin =
            if count < 2 { f64::INFINITY } else { student::quantile(freedom) * (variance / count as f64).sqrt() };
        Self { value, margin, count }
    }

    /// Whether it is at most `limit`, as far as the interval says.
    pub fn at_most(self, limit: f64) -> Verdict {
        match self {
            Self { count: 0, .. } => Verdict::NotMeasured,
            Self { value, margin, .. } if value + margin <= limit => Verdict::Met,
            Self { value, margin, .. } if value - margin > limit => Verdict::NotMet,
            _ => Verdict::Noise,
        }
    }

    /// With this many digits behind the point.
    pub fn digits(self, digits: usize) -> String {
        let Self { value, margin, count } = self;
        match count {
            0 => "failed".to_owned(),
            1 => format!("{value:.digits$} (one measurement)"),
            _ => format!("{value:.digits$} ({:.digits$} to {:.digits$})", value - margin, value + margin),
        }
    }
}

/// One of the goals, and what was measured.
#[derive(Clone, Debug)]
pub struct Goal {
    /// What is to be so.
    pub what: String,
    /// Whether it is.
    pub verdict: Verdict,
    /// The numbers.
    pub found: String,
}

impl Goal {
    /// A median that is to be at least so large.
    pub fn at_least(what: impl Into<String>, found: Spread, limit: f64) -> Self {
        Self { what: what.into(), verdict: Verdict::at_least(found.median, limit), found: found.to_string() }
    }

    /// A median that is to be at most so large.
    pub fn at_most(what: impl Into<String>, found: Spread, limit: f64) -> Self {
        Self { what: what.into(), verdict: Verdict::at_most(found.median, limit), found: found.to_string() }
    }

    /// A mean of pairs that is to be at most so large.
    pub fn mean_at_most(what: impl Into<String>, found: Mean, limit: f64) -> Self {
        let (verdict, pairs) = (found.at_most(limit), found.count);
        Self { what: what.into(), verdict, found: format!("{}, {pairs} pairs", found.digits(3)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_that_of_student() {
        // Standard deviation 1, standard error 1/√3, 2 degrees of freedom.
        let mean = Mean::of([1.0, f64::NAN, 2.0, 3.0]);
        assert_eq!((mean.value, mean.count), (2.0, 3));
        assert!((mean.margin - 4.303 / 3.0_f64.sqrt()).abs() < 1e-9, "{mean:?}");
    }

    #[test]
    fn what_the_interval_leaves_open_is_not_judged() {
        let mean = Mean { value: 1.0, margin: 0.1, count: 5 };
        assert_eq!(mean.at_most(1.2), Verdict::Met);
        assert_eq!(mean.at_most(1.05), Verdict::Noise);
        assert_eq!(mean.at_most(0.95), Verdict::Noise);
        assert_eq!(mean.at_most(0.8), Verdict::NotMet);
        assert_eq!(Mean::of([1.0]).at_most(5.0), Verdict::Noise);
        assert_eq!(Mean::of([f64::NAN]).at_most(5.0), Verdict::NotMeasured);
    }

    #[test]
    fn a_number_stands_for_itself() {
        assert_eq!(Verdict::at_most(1.1, 1.1), Verdict::Met);
        assert_eq!(Verdict::at_least(4.0, 4.1), Verdict::NotMet);
        assert_eq!(Verdict::at_least(f64::NAN, 4.1), Verdict::NotMeasured);
    }
}
