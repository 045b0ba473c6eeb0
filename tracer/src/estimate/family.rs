//! Many questions at once.
//!
//! Who asks of two hundred functions whether each has changed, at 5 % each, hears of ten changes where there is none.
//! Holm's procedure (Scandinavian Journal of Statistics 6 (1979) 65) bounds the probability of *any* false answer, however
//! the questions depend on each other: functions call each other, so theirs do.

/// p-values corrected by Holm's procedure, in the order given: an answer may be believed at level α where its corrected
/// value is at most α.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![1.0; p.len()];
    let mut least = 0.0f64;
    for (rank, &i) in order.iter().enumerate() {
        least = least.max(p[i] * (p.len() - rank) as f64).min(1.0);
        corrected[i] = least;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Holm's paper in its usual form: 0.01, 0.04, 0.03, 0.005.
    #[test]
    fn values_are_corrected_step_by_step() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (a, b) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((a - b).abs() < 1e-12, "{corrected:?}");
        }
        assert_eq!(holm(&[]), Vec::<f64>::new());
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    }
}
