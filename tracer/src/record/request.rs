//! What a run is asked for, and what it shows while it is under way.

use std::time::Duration;

use super::interval::IntervalSetting;
use crate::probe::live::LiveOptions;

/// What to record.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// For how long; `None` = until stopped.
    pub duration: Option<Duration>,
    /// How densely.
    pub interval: IntervalSetting,
    /// Part of the target's CPU time that may be spent at most; `None` = any: every allocation is counted.
    pub max_overhead: Option<f64>,
    /// Whether processes that the target makes from now on are traced too.
    pub children: bool,
    /// Whether blocks are followed to their release.
    pub live: Option<LiveOptions>,
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
    /// Samples lost so far.
    pub lost: u64,
}
