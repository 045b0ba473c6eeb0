//! Intervals of groups.

use super::{Calibration, Windows, mean_objects};
use crate::estimate::between;
use crate::estimate::interval::{self, Interval};
use crate::estimate::measure::{Estimate, Measure};
use crate::estimate::totals::Totals;
use crate::estimate::unseen;

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

    /// 95 % interval of a group's objects. Blocks of a few bytes can be many before one is sampled ([`unseen`]): where no
    /// useful bound holds for them, the upper end is infinite. Where sums are lower bounds, it is that of the group's share in the bound.
    pub fn objects_interval(&self, group: &Measure) -> Interval {
        let (value, unit) = (group.objects.value, self.unit_of(group));
        let Some(whole) = self.known_whole() else {
            let interval = match self.windows {
                Some(_) => {
                    let scale = if group.bytes.value > 0.0 { value / group.bytes.value } else { 0.0 };
                    let [less, more] = group.by_cost.map(|bytes| bytes * scale);
                    // Of many events the sum is the more certain the smaller they are, but not for what did not come.
                    let of_events = |unit| interval::of_events(group.objects, between::unit(group.objects, unit, 0.0));
                    let [low, high] = [of_events(mean_objects(group)).low, of_events(unit).high];
                    Interval { low, high }.widened(value, Interval { low: value - less, high: value + more })
                }
                None => interval::of_sum(group.objects, unit),
            };
            return unseen::or_at_least(value, interval);
        };
        let rest = Measure {
            samples: whole.samples.saturating_sub(group.samples),
            objects: Estimate { value: whole.objects.value - value, variance: group.objects.variance },
            ..Measure::default()
        };
        let rest_unit = self.unit_of(&rest);
        let Interval { low, high } = interval::of_part(group.objects, unit, whole.objects.value, rest_unit);
        let hidden = Estimate { value, variance: group.objects.variance + group.hidden_variance };
        let low = if value <= whole.objects.value / 2.0 { interval::of_sum(hidden, unit).low } else { low };
        // Each sample is one of them.
        let low = low.max((group.samples as f64).min(value));
        unseen::or_at_least(value, Interval { low, high })
    }

    /// Objects that one event more of a group stands for at most; 0 where all are certain.
    pub(super) fn unit_of(&self, group: &Measure) -> f64 {
        if group.objects.variance > 0.0 { self.unit_objects.max(mean_objects(group)) } else { self.unit_objects }
    }
}
