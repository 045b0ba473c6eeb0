//! What windows work on.

use crate::estimate::band::Band;

/// The kernel and the target, or a simulation of both. Times are in seconds since the recording began.
pub trait World {
    /// The time.
    fn now(&self) -> f64;
    /// Sleeps until then; false, at once, when the recording is over.
    fn wait(&mut self, until: f64) -> bool;
    /// Uniform in [0, 1).
    fn random(&mut self) -> f64;
    /// Makes the next [`attach`](Self::attach) or [`detach`](Self::detach) quick, for some milliseconds. Takes as long.
    fn prepare(&mut self);
    /// Puts all probes in.
    fn attach(&mut self);
    /// Takes all probes out. Returns when their breakpoints are gone, with the time of that.
    fn detach(&mut self) -> f64;
    /// Whether hits count.
    fn count(&mut self, on: bool);
    /// What the target used and what it cost so far.
    fn glance(&mut self) -> Glance;
    /// What was counted so far.
    fn read(&mut self) -> Reading;
    /// What a hit costs that is not sampled, by what kind of hits there were and what was measured before.
    fn hit(&self) -> Band;
    /// Waits until no hit is under way any more, with probes gone.
    fn settle(&mut self);
    /// From here on the target's CPU time is wanted exactly.
    fn start_watch(&mut self);
    /// It, in seconds.
    fn watched(&mut self) -> f64;
}

/// Sums since the recording began, quick to read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Glance {
    /// CPU time of the target, in seconds.
    pub cpu: f64,
    /// Hits, whether they counted or not. A few may be missing.
    pub hits: u64,
    /// What sampled hits took besides what every hit takes, in seconds.
    pub sampling: f64,
}

/// Sums since the recording began, exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Hits while counting was on.
    pub hits: u64,
    /// Allocations.
    pub calls: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Reading {
    /// The difference to an earlier one.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            hits: self.hits.wrapping_sub(before.hits),
            calls: self.calls.wrapping_sub(before.calls),
            bytes: self.bytes.wrapping_sub(before.bytes),
        }
    }
}
