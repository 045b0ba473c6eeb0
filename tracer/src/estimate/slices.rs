//! How much an amount varies from one slice of time to the next, and so by how much it would differ in a recording of
//! the same program at another time.
//!
//! Sampling error is not all of chance: the program itself does not do the same in every second. A recording is cut into
//! [`SLICES`] slices of equal length. If what happens in one says little about the next, the amount of all K slices has
//! the variance K s², s² the variance between slices ("batch means": Law and Kelton, *Simulation Modeling and Analysis*,
//! section 9.5.3). Sampling error is in it too, since each slice is sampled.
//!
//! Where busy slices follow each other, that is too little. With the correlation r of neighbours, the sum of K slices has
//! (1 + r) / (1 - r) times that variance (autoregression of first order). r is corrected for its bias in few slices, r +
//! (1 + 4r) / K (Marriott and Pope, Biometrika 41 (1954) 390), and taken to lie in 0 to 0.8: the variance is never lowered.
//! What varies more slowly than a recording lasts cannot be seen in it.

/// Slices of a recording.
pub const SLICES: usize = 20;
/// Degrees of freedom that a variance between slices has.
pub const FREEDOM: f64 = SLICES as f64 - 1.0;
/// Correlation of neighbours that is believed at most.
const MAX_CORRELATION: f64 = 0.8;

/// Amounts in each slice.
pub type Slices = [f64; SLICES];

/// The slice that a moment of a recording lies in. Moments behind the end are in the last.
pub fn slice_of(time_ns: u64, duration_ns: u64) -> usize {
    let place = u128::from(time_ns) * SLICES as u128 / u128::from(duration_ns.max(1));
    (place as usize).min(SLICES - 1)
}

/// The variance of the sum of all slices.
pub fn variance(slices: &Slices) -> f64 {
    let count = SLICES as f64;
    let mean = slices.iter().sum::<f64>() / count;
    let squares = |lag: usize| -> f64 { slices.iter().zip(&slices[lag..]).map(|(a, b)| (a - mean) * (b - mean)).sum() };
    let plain = squares(0);
    if plain <= 0.0 {
        return 0.0;
    }
    let biased = squares(1) / plain;
    let correlation = (biased + (1.0 + 4.0 * biased) / count).clamp(0.0, MAX_CORRELATION);
    count * plain / FREEDOM * (1.0 + correlation) / (1.0 - correlation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{Random, simulation::normal};

    #[test]
    fn moments_have_slices() {
        assert_eq!([0, 49, 50, 999, 1000, u64::MAX].map(|time| slice_of(time, 1000)), [0, 0, 1, 19, 19, 19]);
        assert_eq!(slice_of(5, 0), 19);
    }

    #[test]
    fn one_event_has_the_variance_of_one_event() {
        let mut slices = [0.0; SLICES];
        slices[7] = 50.0;
        assert!((variance(&slices) / 2500.0 - 1.0).abs() < 0.1, "{}", variance(&slices));
        assert_eq!(variance(&[3.0; SLICES]), 0.0);
    }

    /// The claimed variance of sums of independent slices is the true one and a little more; of slices that follow each
    /// other, near it.
    #[test]
    fn claims_are_near_the_truth() {
        for (persistence, range) in [(0.0, 0.95..1.4), (0.4, 0.9..1.5)] {
            let mut random = Random::new(3);
            let (mut squares, mut claimed) = (0.0, 0.0);
            for _ in 0..4000 {
                let mut level = normal(&mut random);
                let slices: Slices = std::array::from_fn(|_| {
                    level = persistence * level + (1.0f64 - persistence * persistence).sqrt() * normal(&mut random);
                    level
                });
                squares += slices.iter().sum::<f64>().powi(2);
                claimed += variance(&slices);
            }
            println!("persistence {persistence}: claimed/true variance {}", claimed / squares);
            assert!(range.contains(&(claimed / squares)), "{persistence}: {}", claimed / squares);
        }
    }
}
