//! The records that BPF writes to the ring buffer.

/// Frames of a stack at most; the option `--max-depth` stays at or below it.
pub const MAX_FRAMES: usize = 1024;

/// See [`Sample::function`].
pub const NO_COUNTER: u32 = u32::MAX;

/// First word of every record: says what follows.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// [`Sample`], then its frames.
    Sample = 1,
    /// [`ProcessEvent`].
    Process = 2,
    /// [`super::live::Release`].
    Release = 3,
}

/// Header of a sample; `frame_count` frames of 8 bytes follow, leaf first.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// [`RecordKind::Sample`].
    pub kind: u32,
    /// Thread group id (the process) in the initial pid namespace.
    pub process: u32,
    /// Thread id in the initial pid namespace.
    pub thread: u32,
    /// Slot of the counter that it was counted in; [`NO_COUNTER`] for CPU samples.
    pub function: u32,
    /// `bpf_ktime_get_ns`: CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// Requested bytes, or bytes that an event is worth; nanoseconds for CPU samples.
    pub size: u64,
    /// Mean bytes between samples that was in force when this sample was drawn; nanoseconds between ticks for CPU samples.
    pub interval: u64,
    /// Process address at which the walk stopped when it was not complete.
    pub stopped_at: u64,
    /// Frames that follow.
    pub frame_count: u32,
    /// How many of them were found by frame pointer.
    pub frame_pointer_frames: u32,
    /// A [`WalkStatus`].
    pub status: u32,
    /// Module number of the frame at which the walk stopped; 0 for none.
    pub stopped_in: u32,
    /// Thread name, zero-padded.
    pub thread_name: [u8; 16],
}

const _: () = assert!(size_of::<Sample>() == 80);

/// A frame as the walk records it.
///
/// Bits: 63 = found by frame pointer, 62..48 = module number (0 for none), 47..0 = address. The address is the one to look
/// up: inside the call instruction (return address - 1), except for the leaf and for the frame that a signal interrupted.
/// It is an ELF virtual address of the module, or a process address where there is no module.
///
/// A kernel address is a frame of its own accord: its upper 17 bits are ones, and no module has the number
/// [`KERNEL_MODULE`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame(pub u64);

/// Module number of kernel addresses.
pub const KERNEL_MODULE: u16 = 0x7fff;

impl Frame {
    /// The frame was found by following the frame pointer.
    #[inline(always)]
    pub const fn by_frame_pointer(self) -> bool {
        self.0 >> 63 != 0 && !self.is_kernel()
    }

    /// It is the kernel's own: the address is a kernel address without its upper 16 bits.
    #[inline(always)]
    pub const fn is_kernel(self) -> bool {
        self.module() == KERNEL_MODULE
    }

    /// Module number; 0 for none.
    #[inline(always)]
    pub const fn module(self) -> u16 {
        (self.0 >> 48 & 0x7fff) as u16
    }

    /// ELF virtual address, or process address where the module is 0.
    #[inline(always)]
    pub const fn address(self) -> u64 {
        self.0 & 0xffff_ffff_ffff
    }
}

/// How a walk ended.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WalkStatus {
    /// At the thread's outermost frame: complete.
    Complete = 0,
    /// The address is in no known executable mapping.
    NoMapping = 1,
    /// The module has no table in memory.
    NoTable = 2,
    /// The table has no rule for the address.
    NoInfo = 3,
    /// The rule is of a form the walk does not know.
    Unsupported = 4,
    /// Stack memory could not be read.
    Unreadable = 5,
    /// The caller's frame would not lie above this one.
    NotAbove = 6,
    /// The frame limit was reached.
    TooDeep = 7,
    /// A table contradicts itself: a bug in tracer.
    Corrupt = 8,
    /// The process's mappings are being read again after something was unmapped.
    Stale = 9,
    /// The process is not known (yet).
    NoProcess = 10,
    /// The thread was inside the trap of a probe, and what it had pushed cannot be told.
    Trapped = 11,
}

impl WalkStatus {
    /// All values, in order.
    pub const ALL: [Self; 12] = [
        Self::Complete,
        Self::NoMapping,
        Self::NoTable,
        Self::NoInfo,
        Self::Unsupported,
        Self::Unreadable,
        Self::NotAbove,
        Self::TooDeep,
        Self::Corrupt,
        Self::Stale,
        Self::NoProcess,
        Self::Trapped,
    ];
}

/// Something happened to a process that user space must act on.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessEvent {
    /// [`RecordKind::Process`].
    pub kind: u32,
    /// A [`ProcessChange`].
    pub change: u32,
    /// Thread group id.
    pub process: u32,
    /// The parent's thread group id for [`ProcessChange::Forked`]; for [`ProcessChange::Executed`] the thread that did it, which has the
    /// main thread's number since.
    pub parent: u32,
    /// `bpf_ktime_get_ns`.
    pub time_ns: u64,
}

/// See [`ProcessEvent`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessChange {
    /// Executable mappings came or went: read them again.
    Mapped = 1,
    /// A child was made; its mappings were copied from the parent's.
    Forked = 2,
    /// The process runs another program: everything is new.
    Executed = 3,
    /// The last thread has ended.
    Exited = 4,
}
