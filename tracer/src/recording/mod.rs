//! What a run of tracer leaves: samples whose frames are named, exact counters, losses. On disk it is a pprof file.
//!
//! A recording is complete in itself: everything behind it works without root, without the target and on another
//! machine.

pub mod about;
pub mod pprof;

pub use about::About;

/// Index into [`Recording::modules`].
pub type ModuleIndex = u32;
/// Index into [`Recording::functions`].
pub type FunctionIndex = u32;
/// Index into [`Recording::locations`].
pub type LocationIndex = u32;
/// Index into [`Recording::stacks`].
pub type StackIndex = u32;

/// A whole run. All indices are valid; [`Recording`]s that come from a file are checked when read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Everything that is not a sample: process, settings, exact counters, losses.
    pub about: About,
    /// Mapped ELF files that frames lie in.
    pub modules: Vec<Module>,
    /// Named functions.
    pub functions: Vec<Function>,
    /// Distinct frame addresses with their names.
    pub locations: Vec<Location>,
    /// Distinct stacks.
    pub stacks: Vec<Stack>,
    /// Samples in order of time.
    pub samples: Vec<Sample>,
}

impl Recording {
    /// How long it is, in seconds; never 0, so that rates can be made with it.
    pub fn seconds(&self) -> f64 {
        self.about.duration_ns.max(1) as f64 / 1e9
    }

    /// Samples that were taken: those that it has, those that were thinned out, and those that were lost.
    pub fn taken(&self) -> u64 {
        let Self { about, samples, .. } = self;
        (samples.len() as u64).saturating_add(about.thinned).saturating_add(about.losses.samples())
    }
}

/// A mapped ELF file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// Path as the target sees it, `[vdso]`, or `[anonymous]`.
    pub path: String,
    /// Build id in lower-case hexadecimal; empty where there is none.
    pub build_id: String,
    /// First process address of its executable mapping.
    pub start: u64,
    /// First process address behind it.
    pub end: u64,
    /// File offset of `start`.
    pub file_offset: u64,
}

/// Ends the name of a function of the kernel: the mark that `stackcollapse-perf.pl` gives it.
pub const KERNEL_MARK: &str = "_[k]";

/// A function's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Function {
    /// Demangled, as shown.
    pub name: String,
    /// As the symbol table has it (mangled); the same as `name` where there is no other.
    pub system_name: String,
    /// Source file; empty where unknown.
    pub file: String,
}

/// One frame address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// Where it lies; `None` for JIT code.
    pub module: Option<ModuleIndex>,
    /// ELF virtual address in the module, or process address where there is none.
    pub address: u64,
    /// Functions at this address, innermost inlined one first; never empty (an address without a name has a function
    /// called `module+0xoffset`).
    pub lines: Vec<Line>,
}

/// A function and the line in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The function.
    pub function: FunctionIndex,
    /// Source line; 0 where unknown.
    pub line: u32,
}

/// A call stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    /// Frames, leaf (the allocation function) first.
    pub frames: Vec<LocationIndex>,
    /// Whether it reaches the thread's start.
    pub end: StackEnd,
    /// Frames that were found by frame pointer, not by a table.
    pub frame_pointer_frames: u32,
}

/// How a stack ends at its root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StackEnd {
    /// At the thread's outermost frame.
    Complete,
    /// Before it; the text says why, and in which module: `no unwind information in libfoo.so`.
    Truncated(String),
}

/// One sample: an allocation, or what else [`About::source`] names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Its stack.
    pub stack: StackIndex,
    /// Process id.
    pub process: u32,
    /// Thread id.
    pub thread: u32,
    /// Thread name when it was taken.
    pub thread_name: String,
    /// Nanoseconds since the recording began.
    pub time_ns: u64,
    /// Requested bytes; nanoseconds between ticks for [`about::Source::Cpu`]; bytes for page faults, `mmap` and `brk`.
    pub size: u64,
    /// Mean bytes between samples in force at this one, 0 = every allocation was sampled; nanoseconds for
    /// [`about::Source::Cpu`].
    pub interval: u64,
    /// Which of [`About::counters`] it was counted in.
    pub counter: u32,
    /// Which of [`About::epochs`] it was taken in; 0 where there are none.
    pub epoch: u32,
    /// What became of the block; `None` where releases were not followed.
    pub block: Option<Block>,
}

/// A sampled block whose release was watched for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// When it was released or resized, nanoseconds since the recording began; `None` = still in use at the end.
    pub released_ns: Option<u64>,
    /// The thread that released it; 0 while it is in use.
    pub released_by: u32,
}
