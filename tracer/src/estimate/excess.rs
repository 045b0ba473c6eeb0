//! What a hit costs, by the CPU time that windows have more than the time around them: calibration in place.
//!
//! A program that does what comes (a server that idles in between) does as much in a window as in any other time as long, and
//! takes more CPU time for it only because of the hits. With cₖ and hₖ of a window, which is the share fₖ of its epoch, and Cₖ and
//! Hₖ of the whole epoch
//!
//! ```text
//! c = Σ aₖ / Σ bₖ      aₖ = cₖ/fₖ - Cₖ      bₖ = hₖ/fₖ - Hₖ
//! ```
//!
//! A program that takes all the CPU time there is has no more of it in windows and does less: then this is nearer to 0. So it
//! is the least that a hit costs, and no program's hits cost less. The standard error is that of the ratio, by successive
//! differences as in [`super::between`].

use super::epochs::fraction;
use super::measure::Estimate;
use super::quantile::NORMAL;
use super::student;
use crate::recording::about::Epoch;

/// Fewer windows tell nothing.
const FEWEST: usize = 6;

/// The least that a hit costs, in nanoseconds. `None` where there are too few windows, or none with hits.
pub fn cost_of_a_hit(epochs: &[Epoch]) -> Option<Estimate> {
    let drawn = epochs.iter().map(|epoch| (epoch, fraction(epoch))).filter(|(_, fraction)| *fraction < 1.0);
    let pairs: Vec<[f64; 2]> = drawn
        .map(|(epoch, fraction)| {
            let excess = |inside: u64, all: u64| inside as f64 / fraction - all as f64;
            [excess(epoch.window.cpu_ns, epoch.cpu_ns), excess(epoch.window.hits, epoch.hits)]
        })
        .collect();
    let sum = |i: usize| pairs.iter().map(|pair| pair[i]).sum::<f64>();
    let (cpu, hits) = (sum(0), sum(1));
    if pairs.len() < FEWEST || hits <= 0.0 {
        return None;
    }
    let value = cpu / hits;
    let residual = |pair: [f64; 2]| pair[0] - value * pair[1];
    let squares: f64 = pairs.windows(2).map(|two| (residual(two[1]) - residual(two[0])).powi(2)).sum();
    let n = pairs.len() as f64;
    let raise = student::quantile(2.0 * (n - 1.0).powi(2) / (3.0 * n - 4.0)) / NORMAL;
    let error = raise * (squares * n / (2.0 * (n - 1.0))).sqrt() / hits;
    Some(Estimate { value, variance: error * error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::about::Window;

    const COST: f64 = 1300.0;

    /// `n` epochs of 200 ms with windows of 5 ms in which `rate` calls a second of wall time come, each 1,000 ns of work. A
    /// `busy` program has one CPU all the time, and does what is left.
    fn epochs(n: u64, rate: f64, busy: bool) -> Vec<Epoch> {
        let epoch = |k: u64| {
            // The load wavers from window to window and from epoch to epoch.
            let waver = |k: u64| 1.0 + 0.2 * ((k * 2_654_435_761 % 1000) as f64 / 500.0 - 1.0);
            let (length, inside) = (200e6, 5e6);
            let calls = if busy { inside / (1000.0 + COST) } else { rate * inside / 1e9 * waver(k) };
            let own = if busy { length - inside } else { rate * (length - inside) / 1e9 * waver(k + 977) * 1000.0 };
            let in_window = calls * (1000.0 + COST);
            Epoch {
                start_ns: k * 200_000_000,
                length_ns: 200_000_000,
                probability: 0.025,
                cpu_ns: (own + in_window) as u64,
                hits: calls as u64,
                window: Window {
                    length_ns: 5_000_000,
                    planned_ns: 5_000_000,
                    cpu_ns: in_window as u64,
                    hits: calls as u64,
                    calls: calls as u64,
                    ..Window::default()
                },
                ..Epoch::default()
            }
        };
        (0..n).map(epoch).collect()
    }

    #[test]
    fn a_program_that_does_what_comes_tells_what_a_hit_costs() {
        let Estimate { value, variance } = cost_of_a_hit(&epochs(100, 300_000.0, false)).unwrap();
        let error = variance.sqrt();
        assert!((value - COST).abs() < 2.5 * error, "{value} ± {error}");
        assert!(error < 0.1 * COST, "{error}");
    }

    #[test]
    fn a_busy_program_tells_nothing() {
        let Estimate { value, .. } = cost_of_a_hit(&epochs(100, 0.0, true)).unwrap();
        assert!(value < 0.05 * COST, "{value}");
    }

    #[test]
    fn few_windows_tell_nothing() {
        assert!(cost_of_a_hit(&epochs(5, 300_000.0, false)).is_none());
        assert!(cost_of_a_hit(&epochs(100, 0.0, false)).is_none());
    }
}
