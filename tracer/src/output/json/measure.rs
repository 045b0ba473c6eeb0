//! Measures, as numbers with their intervals.

use serde::Serialize;

use crate::estimate::{Exact, Interval, Measure, Totals};
use crate::output::quantity::significant;
use crate::profile::Profile;
use crate::recording::about::Source;

#[derive(Serialize)]
#[serde(untagged)]
pub(in crate::output) enum Counted {
    Calls { calls: u64, bytes: u64 },
    Ticks { ticks: u64, nanoseconds: u64 },
}

impl Counted {
    pub(in crate::output) fn new(source: Source, Exact { calls, bytes }: Exact) -> Self {
        match source {
            Source::Cpu => Self::Ticks { ticks: calls, nanoseconds: bytes },
            _ => Self::Calls { calls, bytes },
        }
    }
}

/// A measure.
#[derive(Serialize)]
pub(in crate::output) struct Shown {
    pub(super) samples: u64,
    pub(super) share: f64,
    pub(super) share_low: f64,
    pub(super) share_high: f64,
    #[serde(flatten)]
    pub(super) amount: Amount,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Amount {
    Memory { bytes: Bounded, objects: Bounded },
    Time { nanoseconds: Bounded },
}

impl Amount {
    fn new(source: Source, bytes: Bounded, objects: Bounded) -> Self {
        match source {
            Source::Cpu => Self::Time { nanoseconds: bytes },
            _ => Self::Memory { bytes, objects },
        }
    }
}

#[derive(Serialize)]
pub(super) struct Bounded {
    value: u64,
    low: u64,
    high: Option<u64>,
}

impl Bounded {
    /// Rounded, the interval outwards. An infinite end is none.
    pub(super) fn new(value: f64, interval: Interval) -> Self {
        let value = value.round() as u64;
        let (low, high) = (interval.low.floor() as u64, interval.high.ceil() as u64);
        Self { value, low: low.min(value), high: interval.high.is_finite().then_some(high.max(value)) }
    }

    fn exact(value: f64) -> Self {
        let value = value.round();
        Self::new(value, Interval { low: value, high: value })
    }

    fn at_least(self) -> Self {
        Self { high: None, ..self }
    }
}

impl Shown {
    pub(super) fn new(profile: &Profile, measure: &Measure) -> Self {
        let bytes = Bounded::new(measure.bytes.value, profile.bytes_interval(measure));
        let objects = Bounded::new(measure.objects.value, profile.objects_interval(measure));
        let (share, interval) = (profile.share(measure), profile.share_interval(measure));
        let (bytes, objects) = match profile.totals() {
            Totals::AtLeast { .. } => (bytes.at_least(), objects.at_least()),
            _ => (bytes, objects),
        };
        let (share_low, share_high) = (interval.low.min(share), interval.high.max(share));
        let amount = Amount::new(profile.source, bytes, objects);
        Self { samples: measure.samples, share, share_low, share_high, amount }
    }

    /// What was counted but not sampled.
    pub(super) fn unattributed(profile: &Profile, measure: &Measure) -> Self {
        let (bytes, objects) = (measure.bytes.value, measure.objects.value);
        let amount = Amount::new(profile.source, Bounded::exact(bytes), Bounded::exact(objects));
        Self { amount, ..Self::new(profile, measure) }
    }

    pub(in crate::output) fn everything(profile: &Profile) -> Self {
        let measure = profile.total();
        let share = if measure.bytes.value > 0.0 { 1.0 } else { 0.0 };
        let (bytes, objects) = match profile.totals() {
            Totals::Exact(_) => (Bounded::exact(measure.bytes.value), Bounded::exact(measure.objects.value)),
            Totals::Estimated { bytes, objects } => {
                (Bounded::new(bytes.value, bytes.interval), Bounded::new(objects.value, objects.interval))
            }
            Totals::AtLeast { bytes, objects, .. } => {
                (Bounded::exact(bytes).at_least(), Bounded::exact(objects).at_least())
            }
        };
        let amount = Amount::new(profile.source, bytes, objects);
        Self { samples: measure.samples, share, share_low: share, share_high: share, amount }
    }
}

#[derive(Serialize)]
pub(in crate::output) struct Rate {
    value: f64,
    low: f64,
    high: Option<f64>,
}

impl Rate {
    pub(in crate::output) fn new(value: f64, Interval { low, high }: Interval, bounded: bool) -> Self {
        Self {
            value: significant(value),
            low: significant(low),
            high: (bounded && high.is_finite()).then_some(significant(high)),
        }
    }
}
