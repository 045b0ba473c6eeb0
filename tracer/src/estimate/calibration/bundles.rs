//! Samples, weighed and added up by what they have in common.

use super::cells::cell_of;
use crate::estimate::epochs::{Epochs, Weight};
use crate::estimate::inclusion::{weigh, weigh_tick};
use crate::estimate::measure::Measure;
use crate::estimate::parts::Parts;
use crate::estimate::strata::Strata;
use crate::recording::{About, Recording, Sample, StackIndex, about::Source};

/// The samples of one stack, or what stands in its place, in one stratum or in one window.
#[derive(Clone, Copy, Debug)]
pub(in crate::estimate) struct Bundle {
    pub(super) of: u32,
    pub(super) stack: StackIndex,
    pub(super) parts: Parts,
}

/// The samples that `key` gives a number, added up by stratum and number.
pub(in crate::estimate) fn by_stratum(
    recording: &Recording,
    strata: &Strata,
    kept: f64,
    epochs: Option<&Epochs>,
    key: impl Fn(u32, &Sample) -> Option<u32>,
) -> Vec<Bundle> {
    bundled(&recording.samples, |index, sample| {
        let stratum = strata.of_cell[cell_of(&recording.about, sample)].unwrap_or_default();
        let measure = weigh_sample(&recording.about, sample, kept);
        Some((stratum, key(index, sample)?, Parts::of(measure, weight_in(epochs, sample))))
    })
}

/// Adds up samples by stratum or window, and by stack or what stands in its place; in that order.
pub(super) fn bundled(samples: &[Sample], of: impl Fn(u32, &Sample) -> Option<(u32, u32, Parts)>) -> Vec<Bundle> {
    let keyed = (0u32..).zip(samples).filter_map(|(i, sample)| {
        let (outer, inner, _) = of(i, sample)?;
        Some((u64::from(outer) << 32 | u64::from(inner), i))
    });
    let mut order: Vec<(u64, u32)> = keyed.collect();
    order.sort_unstable();
    let mut bundles: Vec<Bundle> = Vec::new();
    for (_, i) in order {
        let Some((outer, inner, parts)) = of(i, &samples[i as usize]) else { continue };
        match bundles.last_mut() {
            Some(last) if (last.of, last.stack) == (outer, inner) => last.parts += parts,
            _ => bundles.push(Bundle { of: outer, stack: inner, parts }),
        }
    }
    bundles
}

/// What a sample stands for in its window: of all samples, `kept` reached the recording.
pub(super) fn weigh_sample(about: &About, sample: &Sample, kept: f64) -> Measure {
    match about.source {
        Source::Cpu => weigh_tick(sample.size, kept),
        _ => weigh(sample.size, sample.interval, kept),
    }
}

/// What its window stands for, where there are windows.
pub(super) fn weight_in(epochs: Option<&Epochs>, sample: &Sample) -> Weight {
    epochs.map_or(Weight::ONE, |epochs| epochs.weight(sample.epoch))
}
