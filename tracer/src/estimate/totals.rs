//! What can be said of everything that was allocated.

use super::epochs::Unbounded;
use super::interval::Interval;
use super::measure::Exact;

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
    /// Calls were counted in windows in which the program was not itself. Shares hold; sums are lower bounds: the lower
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
