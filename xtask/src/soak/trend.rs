//! A straight line through readings that are not independent of each other.

/// Parts of the time whose means the line is drawn through. A part is long against what readings have in common with those before.
const PARTS: usize = 12;
/// 97.5 % quantile of Student's distribution with `PARTS - 2` degrees of freedom (Abramowitz and Stegun, table 26.10).
const STUDENT: f64 = 2.228;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Mean of the readings.
    pub mean: f64,
    /// Change in a unit of time.
    pub slope: f64,
    /// Half of the slope's 95 % interval.
    pub half: f64,
}

impl Trend {
    /// Of readings in the order of their times; `None` where they are too few.
    pub fn of(readings: &[(f64, f64)]) -> Option<Self> {
        if readings.len() < 2 * PARTS {
            return None;
        }
        let part = |i: usize| &readings[i * readings.len() / PARTS..(i + 1) * readings.len() / PARTS];
        let means: Vec<(f64, f64)> = (0..PARTS).map(|i| mean(part(i))).collect();
        let (x, y) = mean(&means);
        let over = |of: fn(f64, f64) -> f64| means.iter().map(|point| of(point.0 - x, point.1 - y)).sum::<f64>();
        let (xx, xy, yy) = (over(|x, _| x * x), over(|x, y| x * y), over(|_, y| y * y));
        let slope = xy / xx;
        let residual = (yy - slope * xy).max(0.0) / (PARTS - 2) as f64;
        Some(Self { mean: y, slope, half: STUDENT * (residual / xx).sqrt() })
    }
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    (points.iter().map(|point| point.0).sum::<f64>() / n, points.iter().map(|point| point.1).sum::<f64>() / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_a_saw_is_flat() {
        let readings = |of: fn(f64) -> f64| (0..600).map(|i| (f64::from(i), of(f64::from(i)))).collect::<Vec<_>>();
        let line = Trend::of(&readings(|x| 100.0 + 3.0 * x)).unwrap();
        assert!((line.slope - 3.0).abs() < 1e-9 && line.half < 1e-6, "{line:?}");
        let saw = Trend::of(&readings(|x| 100.0 + x % 7.0)).unwrap();
        assert!(saw.slope.abs() < saw.half && saw.half < 0.01, "{saw:?}");
        assert_eq!(Trend::of(&[(0.0, 1.0); 5]), None);
    }
}
