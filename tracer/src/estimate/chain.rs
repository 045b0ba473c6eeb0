//! Differences between successive windows, summed for each group.

use super::between::Pair;
use super::parts::Parts;

/// A group's way through the windows: what it needs of them to compare each with the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chain {
    /// One more than the last window that has something of it; 0 = none.
    last: u32,
    /// What that window has.
    pub(super) value: Pair,
    /// Σ (Δy)², Σ Δy Δn, Σ Δy Δz of bytes and of objects.
    squares: [[f64; 3]; 2],
    /// Variance of the byte sampling, and the least of drawing windows.
    pub(super) sampling: Pair,
    pub(super) least: Pair,
}

impl Chain {
    /// Adds what the group has in a window. Windows come in order; `steps` are what all samples and the residuals of counts
    /// change by from each to the next.
    pub fn push(&mut self, steps: &[[Pair; 2]], link: u32, parts: &Parts) {
        let value = values(parts);
        if self.last == link && link > 0 {
            let before = self.value;
            self.step(steps, link - 1, [value[0] - before[0], value[1] - before[1]]);
        } else {
            self.fall(steps);
            if link > 0 {
                self.step(steps, link - 1, value);
            }
        }
        (self.last, self.value) = (link + 1, value);
        for (q, [_, sampling, least]) in [parts.bytes, parts.objects].into_iter().enumerate() {
            self.sampling[q] += sampling;
            self.least[q] += least;
        }
    }

    /// From the last window that has something of it to the next, which has not.
    fn fall(&mut self, steps: &[[Pair; 2]]) {
        if self.last > 0 {
            self.step(steps, self.last - 1, [-self.value[0], -self.value[1]]);
        }
    }

    fn step(&mut self, steps: &[[Pair; 2]], step: u32, by: Pair) {
        let Some([n, z]) = steps.get(step as usize) else { return };
        for (q, sums) in self.squares.iter_mut().enumerate() {
            add(sums, [by[q] * by[q], by[q] * n[q], by[q] * z[q]]);
        }
    }

    /// The sums, with the last fall.
    pub(super) fn finished(mut self, steps: &[[Pair; 2]]) -> [[f64; 3]; 2] {
        self.fall(steps);
        self.squares
    }
}

/// Values of bytes and objects.
pub(super) fn values(parts: &Parts) -> Pair {
    [parts.bytes[0], parts.objects[0]]
}

/// Adds three sums.
pub(super) fn add(sums: &mut [f64; 3], other: [f64; 3]) {
    for (sum, other) in sums.iter_mut().zip(other) {
        *sum += other;
    }
}
