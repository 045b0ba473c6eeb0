//! What can be said of everything that was allocated.

use super::between::{Design, unit};
use super::epochs::{Epochs, Total, Unbounded};
use super::interval::{self, Interval};
use super::measure::{Estimate, Exact};

/// What can be said of everything that was allocated while recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Totals {
    /// Every call was counted.
    Exact(Exact),
    /// Calls were counted in windows, or not at all.
    Estimated {
        /// Bytes.
        bytes: Bounded,
        /// Calls.
        objects: Bounded,
    },
    /// Calls were counted in windows in which the program was hardly itself. Shares hold; sums are lower bounds: the lower
    /// ends of 95 % intervals.
    AtLeast {
        /// Bytes.
        bytes: f64,
        /// Calls.
        objects: f64,
        /// Why no more is known.
        because: Unbounded,
    },
}

/// An estimate with its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounded {
    /// The estimate.
    pub value: f64,
    /// Where it lies.
    pub interval: Interval,
}

/// The sums of everything counted, bytes and objects: what they are estimated to be, and the lower ends of their intervals
/// if a hit costs as little as it may.
pub(super) fn of_windows(epochs: &Epochs) -> [(Bounded, f64); 2] {
    let design = Design::new(epochs);
    [0, 1].map(|q| {
        let Total { by_cost: [value, low, high], counted } = epochs.totals[q];
        let between = match &epochs.links[..] {
            [link] => link.counted[q].powi(2),
            links => {
                let steps = links.windows(2).map(|pair| (pair[1].residual[q] - pair[0].residual[q]).powi(2));
                let least = value * design.least_deviation;
                design.raise * (design.mean * steps.sum::<f64>() + least * least)
            }
        };
        let event = event(epochs, q);
        let by_cost = Interval { low: low.min(high).min(value), high: high.max(low).max(value) };
        let interval = of_total(Estimate { value, variance: between }, counted, event).widened(value, by_cost);
        let interval = Interval { low: interval.low.max(counted), ..interval };
        let scale = if value > 0.0 { low / value } else { 1.0 };
        let at_least = Estimate { value: low, variance: between * scale * scale };
        (Bounded { value, interval }, of_total(at_least, counted, event * scale).low)
    })
}

/// The size of what makes windows differ, such as a burst: the third moment of residuals over the second.
pub(super) fn event(epochs: &Epochs, q: usize) -> f64 {
    let sum = |power| epochs.links.iter().map(|link| link.residual[q].max(0.0).powi(power)).sum::<f64>();
    let squares = sum(2);
    if squares > 0.0 { sum(3) / squares } else { 0.0 }
}

/// The interval of a sum of which so much was counted.
fn of_total(estimate: Estimate, counted: f64, event: f64) -> Interval {
    let Interval { low, high } = interval::of_events(estimate, unit(estimate, 0.0, event));
    Interval { low: low.max(counted), high: high.max(counted) }
}
