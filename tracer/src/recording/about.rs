//! Everything in a recording that is not a sample. Stored as JSON in a comment of the pprof file.

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// tracer's version.
    pub tracer: String,
    /// The traced process.
    pub process: Process,
    /// Those that were traced beside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_processes: Vec<Process>,
    /// Begin, nanoseconds since 1970.
    pub started_unix_ns: u64,
    /// Length in nanoseconds.
    pub duration_ns: u64,
    /// Why it ended.
    pub ended: Ended,
    /// What a sample is.
    #[serde(skip_serializing_if = "Source::is_allocations")]
    pub source: Source,
    /// Exact counters of every probed function.
    pub counters: Vec<Counter>,
    /// Probes were in during one window of each of these; empty when they were in all the time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub epochs: Vec<Epoch>,
    /// What the measurement cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// CPU time was sampled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuTime>,
    /// Releases were followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
    /// Samples that were taken but not kept, since there were too many: those kept stand for them.
    #[serde(skip_serializing_if = "is_zero")]
    pub thinned: u64,
    /// What was lost.
    pub losses: Losses,
    /// How complete the stacks are.
    pub unwinding: Unwinding,
    /// What else happened, for people: an allocator that was loaded while recording, for example.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The traced process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Name (`comm`).
    pub name: String,
    /// Path of its executable.
    pub executable: String,
}

/// What a sample is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// An allocation.
    #[default]
    Allocations,
    /// A tick of CPU time: every sample stands for its size in nanoseconds.
    Cpu,
    /// A page that the process touched for the first time (or first wrote to).
    PageFaults,
    /// Memory that the process mapped.
    Mmap,
    /// Growth of the program break.
    Brk,
}

impl Source {
    /// Whether samples are allocations.
    pub fn is_allocations(&self) -> bool {
        *self == Self::Allocations
    }
}

/// A stretch of the recording in which probes were in for one window at a random place, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Epoch {
    /// Begin, nanoseconds since the recording began.
    pub start_ns: u64,
    /// Length in nanoseconds.
    pub length_ns: u64,
    /// Share of the epoch that was to be probed, fixed before it began; 1 = all of it.
    pub probability: f64,
    /// CPU time of the target in the epoch, nanoseconds.
    pub cpu_ns: u64,
    /// Hits, exact, whether they counted or not: also those while probes came and went.
    pub hits: u64,
    /// What sampled hits took besides what every hit takes, nanoseconds.
    pub sampling_ns: u64,
    /// When hits were counted.
    pub window: Window,
}

/// When hits were counted, and what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Window {
    /// Begin, nanoseconds since the recording began.
    pub start_ns: u64,
    /// Length in nanoseconds; shorter than was to be where [`Self::capped`].
    pub length_ns: u64,
    /// How long it was to be when it began; 0 = as long as it is, unless capped.
    pub planned_ns: u64,
    /// CPU time of the target in the window, nanoseconds.
    pub cpu_ns: u64,
    /// Hits, exact.
    pub hits: u64,
    /// Allocations, exact.
    pub calls: u64,
    /// Their bytes, exact.
    pub bytes: u64,
    /// It ended early because of too many hits.
    pub capped: bool,
}

/// What the measurement cost the target, and tracer itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// Share of the target's CPU time that was to be spent at most; `None` = no bound.
    pub budget: Option<f64>,
    /// Traps, exact.
    pub hits: u64,
    /// Nanoseconds a hit: estimate and the band it lies in.
    pub hit_ns: f64,
    /// Lower end of the band.
    pub hit_ns_low: f64,
    /// Upper end of the band.
    pub hit_ns_high: f64,
    /// CPU time of the target while recording, nanoseconds, with what was spent on our behalf.
    pub target_cpu_ns: u64,
    /// CPU time spent in the target on our behalf, nanoseconds: estimate.
    pub spent_ns: u64,
    /// Its upper end.
    pub spent_ns_high: u64,
    /// Share of time that probes were in.
    pub probed_share: f64,
    /// How many times slower the target ran inside windows: estimate, 1 = not at all.
    pub slowdown_in_windows: f64,
    /// Upper bound of the share of time lost, whatever a hit costs: time that probes were in, with attaching and detaching.
    pub bound: f64,
    /// tracer's own CPU time while recording, nanoseconds.
    pub tracer_cpu_ns: u64,
    /// tracer's own peak of resident memory, bytes.
    pub tracer_peak_bytes: u64,
}

/// CPU time as the kernel accounts for it, to compare samples with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuTime {
    /// Nanoseconds between ticks.
    pub period_ns: u64,
    /// CPU time of the processes while recording, in nanoseconds, exact. `None` where one of them had ended before it could be
    /// read, and where children were sampled too.
    pub accounted_ns: Option<u64>,
}

/// What following releases left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Live {
    /// Resident memory of the traced processes at the begin and the end, bytes (`Rss` of smaps_rollup).
    pub resident_bytes: [u64; 2],
    /// Sampled blocks that were in use at once at most.
    pub peak_blocks: u64,
    /// How often the interval was raised because the table of live blocks ran full.
    pub interval_raised: u64,
    /// Sampled blocks whose address was not learnt (the call did not return, or returned null): not in the in-use views.
    pub unreturned: u64,
    /// Sampled blocks that could not be followed: the table was full, a record was lost, or the function hands out blocks in a
    /// way that is not followed.
    pub not_followed: u64,
    /// Sampled blocks whose address was handed out again though no release was seen; they end at that moment.
    pub missed_releases: u64,
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// The duration was over.
    #[default]
    Duration,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// The target ended.
    TargetExited,
    /// It cost more than it was allowed to.
    Budget,
    /// The process that held the probes was ended by somebody else.
    ProbesGone,
    /// tracer could not go on; a note says why.
    Failed,
    /// The main thread of a target ended while others went on, and with it what probes of one process are attached through.
    MainThreadEnded,
}

/// Exact counters of one probed function: kept on every call, not estimated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counter {
    /// Function name as in the symbol table.
    pub function: String,
    /// Path of its module.
    pub module: String,
    /// Allocator family, for example `glibc`.
    pub family: String,
    /// Size classes that were hit, ascending.
    pub classes: Vec<SizeClass>,
}

/// Calls of one size class: sizes in `[2^(class-1), 2^class)`, class 0 for size 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SizeClass {
    /// The class.
    pub class: u8,
    /// Calls.
    pub calls: u64,
    /// Requested bytes.
    pub bytes: u64,
}

/// Everything that was lost, counted where it happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Losses {
    /// Samples that found the ring buffer full. Their bytes are in the exact totals.
    pub ring_full: u64,
    /// Samples that found no scratch space (nested deeper than provided for).
    pub scratch_busy: u64,
    /// Process events that found the ring buffer full (stacks may be truncated for a moment after them).
    pub events: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Processes that did not fit the process map.
    pub processes: u64,
    /// Executable mappings beyond the limits, or that could not be read: the most that was left out of each program at a time.
    pub mappings: u64,
    /// Modules whose unwind table did not fit the memory cap.
    pub tables: u64,
}

impl Losses {
    /// Samples that were taken but are not in the recording.
    pub fn samples(&self) -> u64 {
        self.ring_full.saturating_add(self.scratch_busy).saturating_add(self.undecodable)
    }
}

/// How complete the stacks are, in samples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unwinding {
    /// Complete by tables alone.
    pub complete: u64,
    /// Complete, with frames found by frame pointer.
    pub assisted: u64,
    /// Truncated.
    pub truncated: Vec<Truncation>,
}

/// Samples truncated for one reason in one module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Truncation {
    /// Why, for people.
    pub reason: String,
    /// Module path; empty where there is none.
    pub module: String,
    /// Samples.
    pub samples: u64,
    /// What the user can do; empty where nothing is known.
    pub hint: String,
}
