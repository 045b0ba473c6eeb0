//! Intervals of groups.

use super::{Calibration, Windows, mean_objects};
use crate::estimate::between;
use crate::estimate::interval::{self, Interval};
use crate::estimate::measure::{Estimate, Measure};
use crate::estimate::totals::Totals;

impl Calibration {
    /// 95 % interval of a group's bytes. Where sums are lower bounds, it is that of the group's share in the bound.
    pub fn bytes_interval(&self, group: &Measure) -> Interval {
        let value = group.bytes.value;
        if let Some(whole) = self.known_whole() {
            return interval::of_part(group.bytes, self.unit, whole.bytes.value, self.unit);
        }
        match self.totals {
            Totals::AtLeast { .. } => self.share_of_bytes(group),
            _ if self.windows.is_none() => interval::of_sum(group.bytes, self.unit),
            _ => {
                let sum = interval::of_events(group.bytes, between::unit(group.bytes, self.unit, 0.0));
                let [less, more] = group.by_cost;
                let sum = sum.widened(value, Interval { low: value - less, high: value + more });
                if value <= self.total_bytes() / 2.0 {
                    return sum;
                }
                // What is most of everything may yet not be all of it.
                let share = self.share_of_bytes(group);
                Interval { low: sum.low.min(share.low), high: sum.high.max(share.high) }
            }
        }
    }

    /// 95 % interval of a group's share of all bytes, in 0 ..= 1.
    pub fn share_interval(&self, group: &Measure) -> Interval {
        let total = self.total_bytes();
        if total <= 0.0 {
            return Interval::default();
        }
        let Interval { low, high } = self.share_of_bytes(group);
        Interval { low: low / total, high: high / total }
    }

    /// 95 % interval of a group's bytes if all bytes are what they are estimated to be.
    fn share_of_bytes(&self, group: &Measure) -> Interval {
        let part = Estimate { value: group.bytes.value, variance: group.share_variance };
        let total = self.total_bytes();
        let rest = Estimate { value: (total - part.value).max(0.0), ..part };
        let Some(Windows { between, .. }) = self.windows.as_ref().filter(|_| part.value > 0.0) else {
            return interval::of_part(part, self.unit, total, self.unit);
        };
        // A burst of something else makes a share smaller: the skewness may be that of the rest, however large it is.
        let of_part = interval::of_events(part, between::unit(part, self.unit, 0.0));
        let of_rest = interval::of_events(rest, between::unit(rest, self.unit, between.event_elsewhere(part.value)));
        // If there is more of the rest there is more of everything: what takes a part d of a share to first order leaves
        // 1/(1 + d) of it.
        let less = (of_rest.high - rest.value) / part.value;
        let (low, high) = (part.value / (1.0 + less), total - of_rest.low);
        Interval { low: of_part.low.min(low), high: of_part.high.max(high).min(total) }
    }

    /// What all samples of the recording speak for, where that is known exactly.
    fn known_whole(&self) -> Option<Measure> {
        self.exact().map(|_| self.attributed).or(self.selected_of)
    }

    fn total_bytes(&self) -> f64 {
        self.attributed.bytes.value + self.unattributed.bytes.value
    }

    /// 95 % interval of a group's objects: of those of sizes that were sampled. Blocks of a few bytes can be many
    /// before one is sampled, so that no bound holds for sizes unseen; one event more weighs as much as the mean of
    /// those seen.
    pub fn objects_interval(&self, group: &Measure) -> Interval {
        let unit = if group.objects.variance > 0.0 || self.unit > 0.0 { mean_objects(group) } else { 0.0 };
        let Some(whole) = self.known_whole() else {
            return match self.windows {
                Some(_) => {
                    let value = group.objects.value;
                    let scale = if group.bytes.value > 0.0 { value / group.bytes.value } else { 0.0 };
                    let [less, more] = group.by_cost.map(|bytes| bytes * scale);
                    let sum = interval::of_events(group.objects, between::unit(group.objects, unit, 0.0));
                    sum.widened(value, Interval { low: value - less, high: value + more })
                }
                None => interval::of_sum(group.objects, unit),
            };
        };
        let rest = Measure {
            samples: whole.samples.saturating_sub(group.samples),
            objects: Estimate { value: whole.objects.value - group.objects.value, variance: 0.0 },
            ..Measure::default()
        };
        let rest_unit = if unit == 0.0 || rest.samples > 0 { mean_objects(&rest) } else { mean_objects(&whole) };
        interval::of_part(group.objects, unit, whole.objects.value, rest_unit)
    }
}
