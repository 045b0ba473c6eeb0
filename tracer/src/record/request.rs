//! What a run is asked for, and what it shows while it is under way.

use std::time::Duration;

use super::interval::{IntervalControl, IntervalSetting};
use crate::probe::{kernel_event::KernelEvent, live::LiveOptions};

/// What to record.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// For how long; `None` = until stopped.
    pub duration: Option<Duration>,
    /// What samples are taken at; `None` = allocations, of which those are sampled that `interval` says.
    pub event: Option<KernelEvent>,
    /// How densely. CPU time is sampled at every tick, whatever this says.
    pub interval: IntervalSetting,
    /// Part of the target's CPU time that may be spent at most; `None` = any: every allocation is counted.
    pub max_overhead: Option<f64>,
    /// Whether processes that the target makes from now on are traced too.
    pub children: bool,
    /// Whether blocks are followed to their release.
    pub live: Option<LiveOptions>,
    /// Samples that are kept at most, beside those of blocks in use where these are followed.
    pub max_samples: u32,
    /// Frames of a stack at most.
    pub max_frames: u32,
    /// Ring buffer size in bytes: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Kernel memory for unwind tables, in bytes at most.
    pub table_bytes: u64,
}

/// What the terminal may show while a run is under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Since the start.
    pub elapsed: Duration,
    /// Samples so far.
    pub samples: u64,
    /// Exact bytes so far.
    pub bytes: u64,
    /// In how much of the time they were counted.
    pub counted: Duration,
    /// Samples lost so far.
    pub lost: u64,
}

impl Request {
    /// What chooses the interval.
    pub(super) fn interval_control(&self) -> IntervalControl {
        match self.event {
            None => IntervalControl::new(self.interval, self.duration),
            Some(KernelEvent::Cpu { period_ns }) => {
                IntervalControl::new(IntervalSetting::Fixed(period_ns), self.duration)
            }
            // Far rarer than allocations: as a rule every one is recorded.
            Some(_) => IntervalControl::for_events(self.interval, self.duration),
        }
    }
}
