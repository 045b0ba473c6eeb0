//! What windows saw, and what they tell of the cost of a hit.

use super::{Reading, Run, World, nanoseconds};
use crate::{estimate::excess, recording::about::Epoch};

/// CPU seconds and hits from which on they bound the cost of a hit.
const ENOUGH_CPU: f64 = 0.02;
/// See [`ENOUGH_CPU`].
const ENOUGH_HITS: u64 = 2000;
/// Epochs that tell what a hit costs.
const RECENT: usize = 128;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// All epochs.
    pub epochs: Vec<Epoch>,
    /// Seconds that breakpoints were in.
    pub in_place: f64,
    /// The same, with what their coming and going may have taken besides.
    pub disturbed: f64,
    /// Seconds that a hit costs at most, by what windows saw: CPU time in windows over hits.
    pub hit_bound: Option<f64>,
}

impl Outcome {
    /// Whether probes left before the end.
    pub fn left(&self) -> bool {
        self.epochs.iter().any(|epoch| epoch.probability < 1.0)
    }

    /// The epochs; none where probes were in all the time.
    pub fn epochs_that_matter(&self) -> Vec<Epoch> {
        if self.left() { self.epochs.clone() } else { Vec::new() }
    }
}

impl<W: World> Run<'_, W> {
    /// Hits cannot have taken more than all the CPU time there was.
    pub(super) fn learn(&mut self, cpu: f64, hits: u64) {
        self.in_windows.0 += cpu;
        self.in_windows.1 += hits;
        let (cpu, hits) = self.in_windows;
        if cpu > ENOUGH_CPU && hits > ENOUGH_HITS {
            self.outcome.hit_bound = Some(cpu / hits as f64);
        }
        self.budget.set_hit(self.hit_bound());
    }

    /// Upper end of what a hit costs, in seconds.
    pub(super) fn hit_bound(&self) -> f64 {
        let measured = self.world.hit();
        let hit = self.least.map_or(measured, |least| measured.at_least(least));
        (hit.high / 1e9).min(self.outcome.hit_bound.unwrap_or(f64::INFINITY))
    }

    /// Adds an epoch that is over, with the hits since the last one.
    pub(super) fn write(&mut self, epoch: Epoch) {
        self.outcome.epochs.push(epoch);
        self.write_hits();
        let epochs = &self.outcome.epochs;
        self.least = excess::cost_of_a_hit(&epochs[epochs.len().saturating_sub(RECENT)..]);
    }

    fn write_hits(&mut self) {
        let now = self.passed.1;
        if let Some(epoch) = self.outcome.epochs.last_mut() {
            epoch.hits += now.hits.saturating_sub(self.written.hits);
            epoch.sampling_ns += nanoseconds(now.sampling).saturating_sub(nanoseconds(self.written.sampling));
            self.written = now;
        }
    }

    /// Hits that were under way when the last window was closed.
    pub(super) fn rest(&mut self) {
        self.world.settle();
        self.pass();
        self.write_hits();
        let rest = self.counted();
        let last = self.outcome.epochs.iter_mut().rev().map(|epoch| &mut epoch.window).find(|window| window.calls > 0);
        if let Some(window) = last {
            window.hits += rest.hits;
            window.calls += rest.calls;
            window.bytes = window.bytes.wrapping_add(rest.bytes);
        }
    }

    /// What was counted since this was last asked.
    pub(super) fn counted(&mut self) -> Reading {
        let now = self.world.read();
        let counted = now.since(self.read);
        self.read = now;
        counted
    }
}
