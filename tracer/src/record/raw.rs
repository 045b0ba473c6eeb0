//! A recording before names are given to addresses.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use super::{discover::Probed, samples::SampleParts, without_table::WithoutTable};
use crate::{
    probe::{counters::ClassCounters, kernel_event::KernelEvent, programs::Programs},
    recording::about::{Cost, CpuTime, Ended, Epoch, Live, Losses},
    symbolize::HeldSources,
    target::{Modules, Process},
};

/// What a run leaves, before names are given to addresses.
pub struct RawRecording {
    /// Detached from the targets. What follows processes is still attached to the kernel's tracepoints: dropping it waits for
    /// the kernel at each of them, for half a second in all.
    pub programs: Option<Programs>,
    /// The traced processes, as they were when they were last looked at.
    pub targets: Vec<Process>,
    /// What names their code and files.
    pub names: HeldSources,
    /// Samples, stacks, thread names.
    pub parts: SampleParts,
    /// CPU time as the kernel accounts for it, where CPU time was sampled.
    pub cpu: Option<CpuTime>,
    /// Modules by number, their files open.
    pub modules: Modules,
    /// Those that have no unwind table, though their files are open.
    pub without_table: HashMap<u16, WithoutTable>,
    /// What samples were taken at; `None` = allocations.
    pub event: Option<KernelEvent>,
    /// Probed functions by slot.
    pub points: Vec<Probed>,
    /// Exact counters by slot: of `points`, or of `event`.
    pub counters: Vec<ClassCounters>,
    /// What was lost.
    pub losses: Losses,
    /// When probes were in; empty where they were all the time.
    pub epochs: Vec<Epoch>,
    /// What it cost.
    pub cost: Option<Cost>,
    /// What following blocks left.
    pub live: Option<Live>,
    /// What else happened, for people.
    pub notes: Vec<String>,
    /// Wall-clock start.
    pub started: SystemTime,
    /// CLOCK_MONOTONIC at the start, nanoseconds.
    pub start_ns: u64,
    /// Length.
    pub duration: Duration,
    /// Why it ended.
    pub ended: Ended,
}
