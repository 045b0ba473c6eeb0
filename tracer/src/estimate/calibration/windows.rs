//! Samples that were taken in windows: scaled to what there was of everything.

use super::Calibration;
use super::bundles::{Bundle, bundled, weigh_sample};
use crate::estimate::between::{Between, Whole};
use crate::estimate::epochs::Epochs;
use crate::estimate::parts::Parts;
use crate::estimate::quantile::NORMAL;
use crate::estimate::totals::{self, Bounded, Totals};
use crate::recording::Recording;

/// What samples were taken in windows has more.
#[derive(Clone, Debug)]
pub(in crate::estimate) struct Windows {
    /// What each of them stands for.
    pub(in crate::estimate) epochs: Epochs,
    pub(super) between: Between,
    /// By window in place of stratum, scaled.
    pub(super) bundles: Vec<Bundle>,
}

impl Calibration {
    /// Scales what was counted in windows to what there was of everything, and samples to that.
    pub(super) fn extend(&mut self, recording: &Recording, epochs: Epochs) {
        let [bytes, objects] = totals::of_windows(&epochs);
        self.totals = match epochs.unbounded {
            None => Totals::Estimated { bytes: bytes.0, objects: objects.0 },
            Some(because) => Totals::AtLeast { bytes: bytes.1, objects: objects.1, because },
        };
        let all = match self.totals {
            Totals::AtLeast { bytes, objects, .. } => [bytes, objects],
            _ => [bytes.0.value, objects.0.value],
        };
        // What has no sample is as uncertain as everything is.
        let relative = [&bytes.0, &objects.0].map(|Bounded { value, interval }| match value {
            value if *value > 0.0 => (interval.high - interval.low) / (2.0 * NORMAL * value),
            _ => 0.0,
        });
        let samples = [self.attributed.bytes.value, self.attributed.objects.value];
        let mut total = [0.0; 2];
        for (q, rest) in [&mut self.unattributed.bytes, &mut self.unattributed.objects].into_iter().enumerate() {
            let counted = epochs.totals[q].counted;
            if counted > 0.0 {
                rest.value *= all[q] / counted;
                rest.variance = (rest.value * relative[q]).powi(2);
            }
            let left = all[q] - rest.value;
            if samples[q] > 0.0 && left > 0.0 {
                self.factors[q] = left / samples[q];
            }
            total[q] = self.factors[q] * samples[q] + rest.value;
        }
        self.unattributed.share_variance = self.unattributed.bytes.variance;
        for (unit, q) in [(&mut self.unit, 0), (&mut self.unit_objects, 1)] {
            if epochs.totals[q].counted > 0.0 {
                *unit *= total[q] / epochs.totals[q].counted;
            }
        }
        let (attributed, by_cost) = self.all();

        let bundles = bundled(&recording.samples, |_, sample| {
            let weight = epochs.weight(sample.epoch);
            let link = weight.link?;
            let correction = epochs.links.get(link as usize)?.correction;
            let factors = self.factors_of(&recording.about, sample);
            Some((
                link,
                sample.stack,
                Between::in_window(
                    sample,
                    &Parts::of(weigh_sample(&recording.about, sample, self.kept), weight),
                    weight.mid(),
                    factors,
                    correction,
                ),
            ))
        });
        let mut of_links = vec![Parts::default(); epochs.links.len()];
        for bundle in &bundles {
            of_links[bundle.of as usize] += bundle.parts;
        }
        let whole = Whole { attributed: [attributed.bytes.value, attributed.objects.value], total, by_cost };
        let between = Between::new(&epochs, &of_links, whole);
        self.windows = Some(Windows { epochs, between, bundles });
        self.attributed = self.sum(1, |_, groups| groups.add(0)).first().copied().unwrap_or_default();
    }
}
