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
    /// Exact counters of every probed function.
    pub counters: Vec<Counter>,
    /// What was lost.
    pub losses: Losses,
    /// How complete the stacks are.
    pub unwinding: Unwinding,
    /// What else happened, for people: an allocator that was loaded while recording, for example.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
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
    /// Process events that found the ring buffer full (stacks may be truncated after them).
    pub events: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Processes that did not fit the process map.
    pub processes: u64,
    /// Executable mappings beyond the limit of one process.
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
