//! Exponential draws in fixed point: the distance to the next sampled byte.

/// Longest mean interval in bytes: 4 GiB - 1.
pub const MAX_INTERVAL: u64 = (1 << 32) - 1;

/// ln 2 with 24 fractional bits.
const LN_2: u64 = 11_629_080;

/// log2(1 + m) = m + m (1 - m) (C0 + C1 m + ... + C5 m^5) for m in [0, 1), within 1.2e-6; 32 fractional bits.
/// Least-squares fit at the Chebyshev nodes of [0, 1].
const C: [i64; 6] = [1_901_337_675, -1_195_032_240, 845_922_005, -568_016_931, 279_065_135, -66_489_296];

/// A draw from the exponential distribution with mean `interval`, rounded up to a whole byte: at least 1.
///
/// An allocation of S bytes that begins right after the draw is sampled exactly when the draw is at most S, which has
/// probability 1 - e^(-S/R). By inversion: -ln u with u = `random` / 2^64, that is (64 - log2 `random`) ln 2. `interval` is
/// clamped to [`MAX_INTERVAL`]. No loop, no division, no table: it runs in the BPF program, once a sample.
#[inline(always)]
pub fn exponential(random: u64, interval: u64) -> u64 {
    let random = random | 1;
    let interval = if interval > MAX_INTERVAL { MAX_INTERVAL } else { interval };
    let zeros = random.leading_zeros() as u64;
    // The 32 bits behind the leading one: the fraction m.
    let m = (random << zeros << 1 >> 32) as i64;
    let mut inner = C[5];
    inner = C[4] + ((m * inner) >> 32);
    inner = C[3] + ((m * inner) >> 32);
    inner = C[2] + ((m * inner) >> 32);
    inner = C[1] + ((m * inner) >> 32);
    inner = C[0] + ((m * inner) >> 32);
    // m (1 - m) has its maximum at 1/4: 2^62, no overflow.
    let bend = (m * ((1i64 << 32) - m)) >> 32;
    let log2 = ((63 - zeros as i64) << 32) + m + ((bend * inner) >> 32);
    // Below 64 with 24 fractional bits, times ln 2 with 24, to 26: below 2^32, so that the last product fits.
    let minus_log2 = ((64i64 << 32) - log2) as u64 >> 8;
    let minus_ln = (minus_log2 * LN_2) >> 22;
    ((minus_ln * interval) >> 26) + 1
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    /// SplitMix64 (Steele et al. 2014): a fixed sequence, so that a failure repeats.
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn agrees_with_floating_point_everywhere() {
        let interval = 1u64 << 24;
        let mut state = 1;
        for i in 0..200_000 {
            // All magnitudes, not only the likely ones.
            let u = (random(&mut state) >> (i % 64)) | 1;
            let exact = -(u as f64 / 2f64.powi(64)).ln() * interval as f64;
            let got = exponential(u, interval) as f64;
            assert!((got - exact).abs() <= 2.0 + interval as f64 * 1.1e-6, "{u:#x}: {got} for {exact}");
        }
    }

    #[test]
    fn sampling_probability_is_that_of_the_formula() {
        let interval = 4096;
        let n = 4_000_000;
        for size in [16u64, 512, 4096, 20_000] {
            let mut state = size;
            let hits = (0..n).filter(|_| exponential(random(&mut state), interval) <= size).count() as f64;
            let p = -(-(size as f64) / interval as f64).exp_m1();
            let sd = (n as f64 * p * (1.0 - p)).sqrt();
            assert!((hits - n as f64 * p).abs() < 4.0 * sd, "{size}: {hits} for {}", n as f64 * p);
        }
    }

    #[test]
    fn extremes_stay_in_range() {
        for interval in [0, 1, MAX_INTERVAL, u64::MAX] {
            for u in [0, 1, u64::MAX, 1 << 63] {
                let draw = exponential(u, interval);
                assert!(draw >= 1 && draw <= 45 * interval.clamp(1, MAX_INTERVAL), "{u} {interval}: {draw}");
            }
        }
    }
}
