//! What the walk knows of a process: its executable mappings.

/// Executable mappings of one process at most.
pub const MAX_MAPPINGS: usize = 1024;
/// Processes at most.
pub const MAX_PROCESSES: u32 = 1024;

/// How frames inside a mapping are unwound.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingKind {
    /// By the module's unwind table.
    Table = 0,
    /// By frame pointers: JIT code and modules without any unwind information. Such frames are flagged.
    FramePointer = 1,
    /// Was unmapped: whatever stands there now is unknown. Set by BPF at once, cleared by the next scan of user space.
    Gone = 2,
    /// Known, but its table is not loaded (memory cap).
    NoTable = 3,
    /// Go code: as `FramePointer`, and from C that it calls back to the goroutine's stack.
    Go = 4,
}

/// One executable mapping, in process addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First process address.
    pub start: u64,
    /// First process address behind it; below 2^63.
    pub end: u64,
    /// ELF virtual address = process address - bias (wrapping).
    pub bias: u64,
    /// Word address of the page-table entry of ELF page 0, wrapping: entry of page p is at `page_table + 2 * p`.
    pub page_table: u32,
    /// Number of the module, see [`super::sample::Frame`]; 0 for none (JIT code).
    pub module: u16,
    /// A [`MappingKind`].
    pub kind: u8,
    /// Always 0.
    pub padding: u8,
}

/// The mappings of one process, sorted by start, in the map `PROCESSES` under its thread group id.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Whose copy of the mappings this is, and which: [`version`]. The kernel gives the memory of an entry that was replaced to the
    /// next one, at once (`bpf_mem_cache_free`, kernel/bpf/memalloc.c), also while a walk still reads it: then this is
    /// another at its end, or another process's at its begin.
    pub version: u64,
    /// Valid entries of `mappings`.
    pub count: u32,
    /// [`Changes::mapped`], its low half, when user space began to read the mappings.
    pub mapped: u32,
    /// [`Changes::removals`] at that time. Where the two differ, something was unmapped since, and the walk trusts no
    /// mapping.
    pub removals: u64,
    /// See `count`.
    pub mappings: [Mapping; MAX_MAPPINGS],
    /// [`Self::version`] again: whichever end the kernel writes first, one of them tells.
    pub version_again: u64,
}

/// The number of a process's n-th copy, see [`Process::version`]. Unlike that of any other, of any process.
pub const fn version(n: u32, process: u32) -> u64 {
    (n as u64) << 32 | process as u64
}

/// Executable ranges that [`Changes`] remembers.
pub const RECENT_RANGES: usize = 8;

/// What happened to a process's mappings, in the map `CHANGES` under its thread group id.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// How often something executable was unmapped: once when it began, once when it was done.
    pub removals: u64,
    /// How often something became executable.
    pub mapped: u64,
    /// Start and end of what became executable, the n-th at index n modulo [`RECENT_RANGES`]: user space may not have
    /// read it yet, but when it goes, that counts as a removal.
    pub recent: [[u64; 2]; RECENT_RANGES],
}

const _: () = assert!(size_of::<Changes>() == 16 + 16 * RECENT_RANGES);
const _: () = assert!(size_of::<Mapping>() == 32);
const _: () = assert!(size_of::<Process>() == 32 + 32 * MAX_MAPPINGS);
