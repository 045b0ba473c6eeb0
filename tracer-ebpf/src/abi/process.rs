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
    /// Valid entries of `mappings`.
    pub count: u32,
    /// Always 0.
    pub padding: u32,
    /// The process's count in `REMOVALS` when user space read the mappings. Where the two differ, something was
    /// unmapped since, and the walk trusts no mapping.
    pub removals: u64,
    /// See `count`.
    pub mappings: [Mapping; MAX_MAPPINGS],
}

const _: () = assert!(size_of::<Mapping>() == 32);
const _: () = assert!(size_of::<Process>() == 16 + 32 * MAX_MAPPINGS);
