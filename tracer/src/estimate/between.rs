//! How much windows differ: the variance of drawing them.
//!
//! Each epoch is a stratum of which one window is drawn, so that the variance within an epoch has to be taken from the
//! differences between epochs. Taken from neighbours it is hardly touched by a load that changes (successive differences,
//! an average over both ways to collapse neighbouring strata in pairs; Wolter, *Introduction to Variance Estimation*, 2007,
//! sections 2.5 and 8.2):
//!
//! ```text
//! V = n / 2(n-1)  Σ (eₖ₊₁ - eₖ)²
//! ```
//!
//! eₖ are the residuals of the linearised estimator, each times √(1-fₖ). With the group's window sum yₖ, that of all samples
//! nₖ, the exactly counted one tₖ and its CPU time xₖ, all weighted, and the group's share r:
//!
//! ```text
//! of the share:  qₖ = yₖ - r nₖ
//! of the sum:    eₖ = qₖ + r zₖ      zₖ = tₖ - T/X xₖ
//! ```
//!
//! Differences between windows also hold the noise of the byte sampling in each, (1-r)² Vₐ + r² (V - Vₐ) of it. It is taken
//! off, and what post-stratification left of it is added. What is left may be far smaller than the noise, and would often be
//! taken for nothing. But windows cannot differ less than if each call were in one by itself, independently of all others:
//! a variance of Σ ω (ω-1) S². And how many times more than that they do differ is known without noise for all calls
//! together, which were counted: as many times, for a group, as far as it can hide in the noise of V_between, which has a
//! standard error of √(2/f) V_between at f degrees of freedom.
//!
//! For few windows, normal quantiles are too small: V_between is raised by the square of Student's over the normal quantile.
//! Its degrees of freedom are those of n normal successive differences, 2(n-1)²/(3n-4) (von Neumann, Ann. Math. Stat. 12
//! (1941) 367), with the effective number of windows for n. Nor are few windows normal: a program that does one of two
//! things may be seen doing the same in all of them. A standard deviation of 2/n² of everything is the least that is
//! claimed. A single window says nothing of how others would have been: its deviation is taken to be as large as the sum.
//!
//! Sums over pairs are kept as polynomials in r, which is known at the end only, and only windows that have something of a
//! group touch its sums: the cost is that of visiting each stack once for each window that it was sampled in.

use super::chain::{Chain, add, values};
use super::epochs::Epochs;
use super::measure::{Estimate, Measure};
use super::parts::Parts;
use super::quantile::NORMAL;
use super::student;
use super::totals::event;
use crate::recording::Sample;

/// Bytes, then objects.
pub type Pair = [f64; 2];

/// Everything that the windows of a group are compared with.
#[derive(Clone, Debug)]
pub struct Between {
    /// From each window to the next: Δn and Δz.
    steps: Vec<[Pair; 2]>,
    /// Σ (Δn)², Σ Δn Δz, Σ (Δz)² of bytes and of objects.
    squares: [[f64; 3]; 2],
    /// What the byte sampling adds to the differences of all samples together.
    sampling: Pair,
    /// The least variance of drawing windows, of all samples together.
    least: Pair,
    /// How many times more than that there is.
    dispersion: Pair,
    /// All samples of the only window, and all that was counted in it.
    single: Option<[Pair; 2]>,
    design: Design,
    attributed: Pair,
    total: Pair,
    /// See [`event`].
    event: f64,
    /// Total bytes at both ends of the cost of a hit, relative to the middle; then bytes of all samples.
    by_cost: [Pair; 2],
    /// Sums are held at their lower bounds: only shares vary.
    held: bool,
}

/// What all groups together are.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    /// Of all samples.
    pub attributed: Pair,
    /// Of everything.
    pub total: Pair,
    /// Bytes of all samples at both ends of the cost of a hit.
    pub by_cost: Pair,
}

impl Between {
    /// Of windows whose samples add up to `samples`, as [`Self::in_window`] gives them.
    pub fn new(epochs: &Epochs, samples: &[Parts], whole: Whole) -> Self {
        let corrected = epochs.links.iter().zip(samples);
        let ends: Vec<[Pair; 2]> = corrected.map(|(link, all)| [values(all), link.residual]).collect();
        let steps: Vec<[Pair; 2]> =
            ends.windows(2).map(|pair| [0, 1].map(|i| [0, 1].map(|q| pair[1][i][q] - pair[0][i][q]))).collect();
        let mut squares = [[0.0; 3]; 2];
        for [n, z] in &steps {
            for (q, sums) in squares.iter_mut().enumerate() {
                add(sums, [n[q] * n[q], n[q] * z[q], z[q] * z[q]]);
            }
        }
        let design = Design::new(epochs);
        let sum = |of: fn(&Parts) -> Pair| {
            samples.iter().map(of).fold([0.0; 2], |sum, all| [sum[0] + all[0], sum[1] + all[1]])
        };
        let least = sum(|all| [all.bytes[2], all.objects[2]]);
        let dispersion = |q: usize| {
            let squares: [f64; 3] = squares[q];
            if least[q] > 0.0 { (design.mean * squares[2] / least[q]).max(1.0) } else { 1.0 }
        };
        let single = match (&epochs.links[..], samples) {
            ([link], [all]) => Some([values(all), link.counted]),
            _ => None,
        };
        let [middle, low, high] = epochs.totals[0].by_cost;
        Self {
            squares,
            sampling: sum(|all| [all.bytes[1], all.objects[1]]),
            dispersion: [dispersion(0), dispersion(1)],
            least,
            single,
            steps,
            design,
            event: event(epochs, 0),
            attributed: whole.attributed,
            total: whole.total,
            by_cost: [if middle > 0.0 { [low / middle, high / middle] } else { [1.0; 2] }, whole.by_cost],
            held: epochs.unbounded.is_some(),
        }
    }

    /// A sample as a part of a window, scaled by `factors` (of bytes and of objects) and corrected: its value, the variance
    /// that the byte sampling gives it, and the least that drawing windows does.
    pub fn in_window(sample: &Sample, parts: &Parts, weight: f64, factors: Pair, correction: f64) -> Parts {
        let scale = |[value, _, variance]: [f64; 3], factor: f64, size: f64| {
            let corrected = factor * correction;
            [corrected * value, corrected * corrected * variance, factor * value * size * (weight - 1.0).max(0.0)]
        };
        Parts {
            samples: 1,
            bytes: scale(parts.bytes, factors[0], sample.size as f64),
            objects: scale(parts.objects, factors[1], 1.0),
            ..Parts::default()
        }
    }

    /// Adds the variance between windows to a group that has that of the byte sampling. `by_cost` are its bytes at both
    /// ends of the cost of a hit.
    pub fn widen(&self, group: &mut Measure, chain: &Chain, by_cost: Pair) {
        let [bytes, objects] = [0, 1].map(|q| {
            let value = if q == 0 { group.bytes.value } else { group.objects.value };
            self.between(chain, q, value)
        });
        let value = group.bytes.value;
        let [of_total, all] = self.by_cost;
        let share = |i: usize| if all[i] > 0.0 { self.attributed[0] * by_cost[i] / all[i] } else { value };
        let of_share = (share(0) - value).abs().max((share(1) - value).abs()) / NORMAL;

        group.share_variance += bytes.share + of_share * of_share;
        if self.held {
            group.bytes.variance = group.share_variance;
            group.objects.variance += objects.share;
        } else {
            group.bytes.variance += bytes.sum;
            group.objects.variance += objects.sum;
            let ends = [0, 1].map(|i| of_total[i] * share(i));
            group.by_cost =
                [(value - ends[0].min(ends[1])).max(0.0).min(value), (ends[0].max(ends[1]) - value).max(0.0)];
        }
    }

    /// What one event outside a group takes of its bytes, if the sum of everything is held.
    pub fn event_elsewhere(&self, bytes: f64) -> f64 {
        if self.total[0] > 0.0 { self.event * bytes / self.total[0] } else { 0.0 }
    }

    /// See [`Chain::push`].
    pub(super) fn steps(&self) -> &[[Pair; 2]] {
        &self.steps
    }

    fn between(&self, chain: &Chain, q: usize, value: f64) -> Components {
        if let Some([all, _]) = self.single {
            let r = if all[q] > 0.0 { (chain.value[q] / all[q]).min(1.0) } else { 0.0 };
            return Components { share: r * (1.0 - r) * all[q] * all[q], sum: chain.value[q] * chain.value[q] };
        }
        let part = |whole: f64| if whole > 0.0 { (value / whole).min(1.0) } else { 0.0 };
        let (of_samples, of_total) = (part(self.attributed[q]), part(self.total[q]));
        let [yy, yn, yz] = chain.finished(&self.steps)[q];
        let [nn, nz, zz] = self.squares[q];
        let share = yy - 2.0 * of_samples * yn + of_samples * of_samples * nn;
        let sum = share + 2.0 * of_total * (yz - of_samples * nz) + of_total * of_total * zz;
        let of_rest = |all: f64, group: f64| {
            (1.0 - of_samples).powi(2) * group + of_samples * of_samples * (all - group).max(0.0)
        };
        let sampling = of_rest(self.sampling[q], chain.sampling[q]);
        let Design { mean, raise, freedom, least_deviation } = self.design;
        let net = |squares: f64, least: f64, all: f64| {
            let between = mean * squares;
            let hidden = (self.dispersion[q] * least).min(between * (2.0 / freedom).sqrt()).max(least);
            raise * ((between - sampling).max(hidden) + all * least_deviation * least_deviation)
        };
        let rest = self.attributed[q] - value;
        Components {
            share: net(share, of_rest(self.least[q], chain.least[q]), (value * rest).max(0.0)),
            sum: net(sum, chain.least[q], value * value),
        }
    }
}

/// What sums of squared differences are multiplied with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Design {
    /// n / 2(n-1).
    pub mean: f64,
    /// (t/z)².
    pub raise: f64,
    /// Degrees of freedom.
    pub freedom: f64,
    /// Standard deviation that is claimed at least, relative to everything.
    pub least_deviation: f64,
}

impl Design {
    pub fn new(epochs: &Epochs) -> Self {
        let links = epochs.links.len() as f64;
        if links < 2.0 {
            return Self { mean: 0.0, raise: 1.0, freedom: 1.0, least_deviation: 1.0 };
        }
        let n = epochs.effective.min(links);
        let freedom = if n > 2.0 { 2.0 * (n - 1.0).powi(2) / (3.0 * n - 4.0) } else { 1.0 };
        Self {
            mean: links / (2.0 * (links - 1.0)),
            raise: (student::quantile(freedom) / NORMAL).powi(2),
            freedom,
            least_deviation: 2.0 / n.max(1.0).powi(2),
        }
    }
}

/// What one event more would add: a sample, or what makes windows differ. No larger than that one of them was seen.
pub fn unit(Estimate { value, variance }: Estimate, sample: f64, event: f64) -> f64 {
    let mean = if value > 0.0 { variance / value } else { 0.0 };
    sample.max(mean.max(event.min(variance.sqrt())))
}

struct Components {
    /// Of the share, times the square of the sum.
    share: f64,
    /// Of the sum.
    sum: f64,
}
