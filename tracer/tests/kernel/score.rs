//! How estimates fare against a truth that is known, over many recordings.

/// Estimates of one number, and how often their intervals held it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    rounds: usize,
    held: usize,
    sum: f64,
    sum_of_squares: f64,
}

impl Score {
    /// Adds an estimate; `held`: its interval holds the truth.
    pub fn add(&mut self, truth: f64, estimate: f64, held: bool) {
        self.rounds += 1;
        self.held += usize::from(held);
        self.sum += estimate - truth;
        self.sum_of_squares += (estimate - truth).powi(2);
    }

    /// The share of intervals that hold the truth.
    pub fn coverage(&self) -> f64 {
        self.held as f64 / self.rounds as f64
    }

    /// The mean error.
    pub fn mean_error(&self) -> f64 {
        self.sum / self.rounds as f64
    }

    /// The mean error in units of its own standard error. A millionth of the truth is added to that: where hardly anything is
    /// left to chance, the unlikely case that did not occur is missing from both.
    pub fn z(&self, truth: f64) -> f64 {
        let variance = self.sum_of_squares / self.rounds as f64 - self.mean_error().powi(2);
        self.mean_error() / ((variance.max(0.0) / self.rounds as f64).sqrt() + truth / 1e6)
    }
}
