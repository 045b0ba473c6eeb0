//! One of the two recordings: what its groups of stacks allocated, and how far that may be off by chance.

use super::{Chance, Scale};
use crate::estimate::compare::Rate;
use crate::estimate::slices::{self, SLICES, Slices};
use crate::estimate::{Calibration, Measure, Totals};
use crate::recording::{Recording, StackIndex};

/// Says which groups a stack belongs to, each once.
pub trait Grouping {
    /// Calls `add` for each group of a stack.
    fn visit(&mut self, stack: StackIndex, add: &mut dyn FnMut(u32));
}

/// A recording that is compared.
pub struct Half<'a> {
    recording: &'a Recording,
    /// Its weights.
    pub calibration: Calibration,
    /// Where its stacks begin among those of both.
    first_stack: StackIndex,
    /// What amounts are divided by.
    divisor: f64,
    /// Whether that is everything.
    shares: bool,
}

/// What a group allocated in one of the recordings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amount {
    /// Samples and estimates, not divided.
    pub measure: Measure,
    /// Variance of the bytes between slices of time; 0 where that is not asked for.
    pub between_slices: f64,
}

impl<'a> Half<'a> {
    /// Weighs a recording's samples.
    pub fn new(recording: &'a Recording, first_stack: StackIndex, scale: Scale) -> Self {
        let calibration = Calibration::new(recording);
        let all = calibration.attributed().bytes.value + calibration.unattributed_measure().bytes.value;
        let (divisor, shares) = match scale {
            Scale::Per(divisor) => (divisor, false),
            Scale::Share => (if all > 0.0 { all } else { 1.0 }, true),
        };
        Self { recording, calibration, first_stack, divisor, shares }
    }

    /// Stacks, by their index among those of both recordings, with the bytes that they allocated, divided.
    pub fn own_rates(&self) -> Vec<(StackIndex, f64)> {
        let own = self.calibration.sum(self.recording.stacks.len(), |stack, sums| sums.add(stack));
        let own = (self.first_stack..).zip(own).filter(|(_, own)| own.samples > 0);
        own.map(|(stack, own)| (stack, own.bytes.value / self.divisor)).collect()
    }

    /// What no sample speaks for, divided.
    pub fn unattributed_rate(&self) -> f64 {
        self.calibration.unattributed_measure().bytes.value / self.divisor
    }

    /// What each group allocated.
    pub fn measures(&self, groups: usize, grouping: &mut impl Grouping) -> Vec<Measure> {
        self.calibration
            .sum(groups, |stack, sums| grouping.visit(stack + self.first_stack, &mut |group| sums.add(group)))
    }

    /// The variance between slices of those groups that `place` gives a place below `places`.
    pub fn between_slices(
        &self,
        places: usize,
        place: impl Fn(u32) -> Option<u32>,
        grouping: &mut impl Grouping,
    ) -> Vec<f64> {
        let about = &self.recording.about;
        // Stack, slice, bytes: sorted, so that each stack is visited once.
        let mut parts: Vec<(StackIndex, usize, f64)> = (self.recording.samples.iter())
            .map(|sample| {
                let slice = slices::slice_of(sample.time_ns, about.duration_ns);
                (sample.stack, slice, self.calibration.weight(about, sample).0)
            })
            .collect();
        parts.sort_unstable_by_key(|&(stack, slice, _)| (stack, slice));
        let mut sums: Vec<Slices> = vec![[0.0; SLICES]; places];
        let mut of_all = [0.0; SLICES];
        parts.iter().for_each(|&(_, slice, bytes)| of_all[slice] += bytes);
        let mut of_stack = Vec::new();
        for parts in parts.chunk_by(|a, b| a.0 == b.0) {
            of_stack.clear();
            grouping.visit(parts[0].0 + self.first_stack, &mut |group| of_stack.extend(place(group)));
            for &(_, slice, bytes) in parts {
                for &place in &of_stack {
                    sums[place as usize][slice] += bytes;
                }
            }
        }
        if self.shares {
            // What a slice has more of the group than its share of all would be: the residuals of a ratio.
            for sums in &mut sums {
                let all: f64 = of_all.iter().sum();
                let share = if all > 0.0 { sums.iter().sum::<f64>() / all } else { 0.0 };
                sums.iter_mut().zip(&of_all).for_each(|(sum, all)| *sum -= share * all);
            }
        }
        sums.iter().map(slices::variance).collect()
    }

    /// An amount as a rate. `other` is that of the other recording: where this one has no sample, one of the size of the
    /// other's may have been missed.
    pub fn rate(&self, amount: &Amount, other: &Amount, chance: Chance) -> Rate {
        let each = |amount: &Amount| amount.measure.bytes.value / amount.measure.samples.max(1) as f64;
        let unit = self.calibration.unit();
        let event = match (chance, amount.measure.samples) {
            (Chance::Sampling, _) => unit,
            (Chance::Time, 0) => unit.max(each(other)),
            (Chance::Time, _) => each(amount),
        };
        let measure = &amount.measure;
        let sampling = if self.shares { measure.share_variance } else { measure.variance_with_cost() };
        // Sampling error is in what varies between slices.
        let (variance, freedom) = match chance {
            Chance::Time if amount.between_slices > sampling => (amount.between_slices, slices::FREEDOM),
            _ => (sampling, f64::INFINITY),
        };
        self.scaled(amount.measure.bytes.value, variance + event * event, freedom)
    }

    /// Everything: exact where all calls were counted, so that chance is in the program alone.
    pub fn total(&self, amount: &Amount, chance: Chance) -> Rate {
        let value = amount.measure.bytes.value + self.calibration.unattributed_measure().bytes.value;
        if self.shares {
            return self.scaled(value, 0.0, f64::INFINITY);
        }
        let estimated = match self.calibration.totals() {
            Totals::Estimated { bytes, .. } => bytes.interval.standard_error().powi(2),
            Totals::Exact(_) | Totals::AtLeast { .. } => 0.0,
        };
        match chance {
            Chance::Time if amount.between_slices > estimated => {
                self.scaled(value, amount.between_slices, slices::FREEDOM)
            }
            _ => self.scaled(value, estimated, f64::INFINITY),
        }
    }

    fn scaled(&self, value: f64, variance: f64, freedom: f64) -> Rate {
        Rate { value: value / self.divisor, variance: variance / self.divisor.powi(2), freedom }
    }
}
