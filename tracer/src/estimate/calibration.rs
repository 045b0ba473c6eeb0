//! Post-stratified sums over the samples of a recording, for any number of groups of stacks at once.
//!
//! In a stratum h with the exact total B and the estimate Y = Σ S/p, a group a with the estimate Yₐ gets (Särndal,
//! Swensson and Wretman 1992, section 7.6; Holt and Smith, J. R. Stat. Soc. A 142 (1979) 33)
//!
//! ```text
//! Y*ₐ = g Yₐ                                  g = B/Y
//! V*ₐ = g² ((1-r)² Vₐ + r² (V - Vₐ))          r = Yₐ/Y
//! ```
//!
//! and sums these over the strata; objects likewise with calls and Σ 1/p. V* is the variance of the residuals S (1ₐ -
//! r) of the linearised ratio. Unscaled, the variance is Vₐ: scaling lowers it wherever r V < 2 Vₐ. Blocks of one size
//! class have Vₐ/V close to r, so it is lower by 1 - r there: nothing for a rare site, all of it for the whole. It can
//! only be higher for a group of the largest blocks of a class well above the interval, where all of V is negligible.
//!
//! Samples that were taken in windows carry what the window stands for, ω ([`super::epochs`]): Yₐ is Σ ω S/p then, r = Yₐ/Y
//! with Y as it is in the windows, and the residuals are S (ω 1ₐ - r). What windows differ by comes on top
//! ([`super::between`]).

mod bundles;
mod cells;
mod intervals;
mod windows;

pub(super) use bundles::by_stratum;

use bundles::{Bundle, weigh_sample, weight_in};
use cells::{cell_of, exact_cells, exact_total};
use windows::Windows;

use super::chain::Chain;
use super::compare::share;
use super::epochs::{Epochs, Slowdown};
use super::interval;
use super::measure::{Estimate, Exact, Measure};
use super::parts::{Groups, Parts, Scratch};
use super::strata::{Design, Strata};
use super::totals::{Bounded, Totals};
use super::unseen;
use crate::recording::{About, Recording, Sample, StackIndex, about::Source};

/// The weights of a recording's samples.
#[derive(Clone, Debug)]
pub struct Calibration {
    pub(super) kept: f64,
    /// Bytes that one sample more would stand for.
    pub(super) unit: f64,
    /// Objects that it would stand for at most: [`unseen`].
    pub(super) unit_objects: f64,
    pub(super) strata: Strata,
    /// Of bytes and objects, on top of what strata are scaled by.
    pub(super) factors: [f64; 2],
    pub(super) bundles: Vec<Bundle>,
    pub(super) windows: Option<Windows>,
    pub(super) attributed: Measure,
    pub(super) unattributed: Measure,
    pub(super) totals: Totals,
    /// What all samples speak for where these are [`Self::select`]ed ones and that is known exactly.
    pub(super) selected_of: Option<Measure>,
}

impl Calibration {
    /// Weighs the samples of a recording. Linear in their number, up to sorting.
    pub fn new(recording: &Recording) -> Self {
        let Recording { about, samples, .. } = recording;
        let lost = about.losses.samples() as f64;
        // Those that were thinned have their part in the intervals of those that stayed.
        let taken = samples.len() as f64 + about.thinned as f64;
        let kept = if samples.is_empty() { 1.0 } else { taken / (taken + lost) };
        let interval = samples.iter().map(|s| s.interval).max().unwrap_or(0);
        let epochs = Epochs::new(about);

        let mut cells = exact_cells(about);
        for sample in samples {
            let cell = &mut cells[cell_of(about, sample)];
            cell.estimate += weigh_sample(about, sample, kept);
            cell.sampled += Exact { calls: 1, bytes: sample.size };
        }
        let accounted = accounted(recording);
        let design = Design { interval, kept };
        let unit_objects = match about.source {
            Source::Cpu => 1.0 / kept,
            _ => unseen::weight(&cells, design),
        };
        let strata = match accounted {
            Some(exact) => Strata::whole(&cells, exact),
            None => Strata::new(&cells, design),
        };
        let bundles = by_stratum(recording, &strata, kept, epochs.as_ref(), |_, sample| Some(sample.stack));
        let mut calibration = Self {
            kept,
            unit: interval as f64 / kept,
            unit_objects,
            unattributed: exact_measure(strata.unattributed),
            strata,
            factors: [1.0; 2],
            bundles,
            windows: None,
            attributed: Measure::default(),
            totals: Totals::Exact(accounted.unwrap_or_else(|| exact_total(about))),
            selected_of: None,
        };
        (calibration.attributed, _) = calibration.all();
        let counted = accounted.is_some() || !about.counters.is_empty();
        let calibrated = calibration.strata.strata.iter().all(|s| s.exact.is_some()) && counted;
        match epochs {
            Some(epochs) => calibration.extend(recording, epochs),
            None if !calibrated => calibration.totals = calibration.estimated(),
            None => {}
        }
        calibration
    }

    /// The totals of samples alone.
    pub(super) fn estimated(&self) -> Totals {
        let mut total = self.attributed;
        total += self.unattributed;
        let Measure { bytes, objects, .. } = total;
        Totals::Estimated {
            bytes: Bounded { value: bytes.value, interval: interval::of_sum(bytes, self.unit) },
            objects: Bounded {
                value: objects.value,
                interval: unseen::or_at_least(objects.value, interval::of_sum(objects, self.unit_of(&self.attributed))),
            },
        }
    }

    /// All samples, scaled, with the variance of the byte sampling; and their bytes at both ends of the cost of a hit.
    fn all(&self) -> (Measure, [f64; 2]) {
        let (mut all, mut by_cost) = (Measure::default(), [0.0; 2]);
        for bundles in self.bundles.chunk_by(|a, b| a.of == b.of) {
            let Some(stratum) = bundles.first().and_then(|b| self.strata.strata.get(b.of as usize)) else { continue };
            let mut parts = Parts::default();
            bundles.iter().for_each(|bundle| parts += bundle.parts);
            all += parts.scaled(stratum, self.factors);
            add(&mut by_cost, parts.by_cost, self.factors[0] * stratum.factors()[0]);
        }
        (all, by_cost)
    }

    /// What a sample's weights are multiplied with: bytes, objects.
    fn factors_of(&self, about: &About, sample: &Sample) -> [f64; 2] {
        let stratum = self.strata.of_cell.get(cell_of(about, sample)).copied().flatten();
        let stratum = stratum.and_then(|s| self.strata.strata.get(s as usize));
        let [bytes, objects] = stratum.map_or([1.0; 2], |stratum| stratum.factors());
        [self.factors[0] * bytes, self.factors[1] * objects]
    }

    /// Adds up groups: `visit` is called for stacks and names each group that the stack belongs to, once. Returns one
    /// measure for each group. Groups may overlap; the cost is the number of groups named.
    ///
    /// A stack that has samples in k strata and in n windows is visited k + n times. One pass takes one stratum or window,
    /// so that a group needs one slot of scratch space and not one for each of them.
    pub fn sum(&self, groups: usize, mut visit: impl FnMut(StackIndex, &mut Groups<'_>)) -> Vec<Measure> {
        let mut totals = vec![Measure::default(); groups];
        let mut scratch = Scratch::new(groups);
        let windows = self.windows.as_ref();
        let mut by_cost = vec![[0.0; 2]; if windows.is_some() { groups } else { 0 }];
        for bundles in self.bundles.chunk_by(|a, b| a.of == b.of) {
            for bundle in bundles {
                visit(bundle.stack, &mut scratch.groups(bundle.parts));
            }
            let Some(stratum) = bundles.first().and_then(|b| self.strata.strata.get(b.of as usize)) else {
                continue;
            };
            for (group, parts) in scratch.drain() {
                totals[group] += parts.scaled(stratum, self.factors);
                if let Some(by_cost) = by_cost.get_mut(group) {
                    add(by_cost, parts.by_cost, self.factors[0] * stratum.factors()[0]);
                }
            }
        }
        let Some(Windows { between, bundles, .. }) = windows else {
            self.estimated_shares(&mut totals);
            return totals;
        };
        let mut chains = vec![Chain::default(); groups];
        for bundles in bundles.chunk_by(|a, b| a.of == b.of) {
            for bundle in bundles {
                visit(bundle.stack, &mut scratch.groups(bundle.parts));
            }
            for (group, parts) in scratch.drain() {
                chains[group].push(between.steps(), bundles[0].of, &parts);
            }
        }
        for ((total, chain), by_cost) in totals.iter_mut().zip(&chains).zip(by_cost) {
            between.widen(total, chain, by_cost);
        }
        totals
    }

    /// Shares of a sum that is itself an estimate.
    fn estimated_shares(&self, groups: &mut [Measure]) {
        if self.exact().is_none() {
            let all = self.attributed.bytes;
            for group in groups {
                group.share_variance = share(group.bytes, all).variance * all.value * all.value;
            }
        }
    }

    /// What one sample stands for: (bytes, objects), scaled.
    pub fn weight(&self, about: &About, sample: &Sample) -> (f64, f64) {
        let weight = weigh_sample(about, sample, self.kept);
        let [bytes, objects] = self.factors_of(about, sample);
        let window = weight_in(self.windows.as_ref().map(|windows| &windows.epochs), sample).mid();
        (weight.bytes.value * bytes * window, weight.objects.value * objects * window)
    }

    /// Everything that samples speak for. With exact counters its variance is 0.
    pub fn attributed(&self) -> Measure {
        self.attributed
    }

    /// What was counted but has no sample to speak for it: in windows, where there are windows.
    pub fn unattributed(&self) -> Exact {
        self.strata.unattributed
    }

    /// What that stands for in the whole recording. [`Self::attributed`] and this add up to the totals.
    pub fn unattributed_measure(&self) -> Measure {
        self.unattributed
    }

    /// What can be said of everything.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The exact totals, where there are exact counters for all samples: [`Self::attributed`] and
    /// [`Self::unattributed`] add up to them.
    pub fn exact(&self) -> Option<Exact> {
        match self.totals {
            Totals::Exact(exact) => Some(exact),
            _ => None,
        }
    }

    /// Whether calls were counted in windows only.
    pub fn in_windows(&self) -> bool {
        self.windows.is_some()
    }

    /// How many times slower the program was in windows, where there are any.
    pub fn slowdown(&self) -> Option<Slowdown> {
        self.windows.as_ref().map(|windows| windows.epochs.slowdown)
    }

    /// What one sample more of small blocks stands for, in bytes: the largest interval, raised for lost samples and for windows.
    pub fn unit(&self) -> f64 {
        self.unit
    }

    /// Share of the samples taken that reached the recording.
    pub fn kept(&self) -> f64 {
        self.kept
    }
}

/// Objects that one sample stands for.
fn mean_objects(part: &Measure) -> f64 {
    if part.samples == 0 { 0.0 } else { part.objects.value / part.samples as f64 }
}

/// An exact count as a measure: an estimate without variance and without samples.
fn exact_measure(exact: Exact) -> Measure {
    let certain = |value: u64| Estimate { value: value as f64, variance: 0.0 };
    Measure { bytes: certain(exact.bytes), objects: certain(exact.calls), ..Measure::default() }
}

fn add(sum: &mut [f64; 2], other: [f64; 2], factor: f64) {
    for (sum, other) in sum.iter_mut().zip(other) {
        *sum += factor * other;
    }
}

/// The CPU time that the kernel accounted for, and the ticks that were taken of it.
fn accounted(recording: &Recording) -> Option<Exact> {
    let bytes = recording.about.cpu.as_ref()?.accounted_ns?;
    Some(Exact { calls: recording.taken(), bytes })
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod windows_tests;
