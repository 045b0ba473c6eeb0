//! What user space tells the programs, and what they count besides allocations.

use super::allocation::MAX_FUNCTIONS;

/// The one entry of the map `SETTINGS`; may change while the programs run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Mean bytes between samples, 0 samples every allocation; nanoseconds between ticks where CPU time is sampled.
    pub interval: u64,
    /// Frames of a stack at most, up to [`super::sample::MAX_FRAMES`].
    pub max_frames: u32,
    /// 0 while hits must neither count nor sample: before every probe is in place.
    pub enabled: u32,
    /// Wake user space when this many bytes wait in the ring buffer.
    pub wakeup_bytes: u64,
    /// 1 when children of traced processes are traced too: probes are then in all processes, and hits in those that are not
    /// traced do nothing.
    pub follow_children: u32,
    /// The process that tracer started, stopped (SIGSTOP) when it runs a program and when its loader has loaded libraries;
    /// 0 for none. No other process is ever stopped.
    pub launched: u32,
    /// tracer's own process: whoever it started is stopped only while it lives.
    pub tracer: u32,
    /// Where this kernel keeps return addresses that return probes replaced.
    pub return_probes: ReturnProbeOffsets,
    /// Where this kernel says who a process's parent is, whether that is ending, and which threads live.
    pub parents: ParentOffsets,
    /// Where this kernel keeps the program break.
    pub program_break: BreakOffsets,
}

/// Byte offsets of kernel fields, from the kernel's BTF (include/linux/sched.h, include/linux/sched/signal.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParentOffsets {
    /// `task_struct.real_parent`; 0 where the offsets are not known.
    pub task_real_parent: u32,
    /// `task_struct.tgid`.
    pub task_tgid: u32,
    /// `task_struct.signal`.
    pub task_signal: u32,
    /// `signal_struct.flags`.
    pub signal_flags: u32,
    /// `signal_struct.live`.
    pub signal_live: u32,
}

/// Byte offsets of kernel fields, from the kernel's BTF (include/linux/uprobes.h, include/linux/sched.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReturnProbeOffsets {
    /// `task_struct.utask`; 0 where the offsets are not known.
    pub task_utask: u32,
    /// `uprobe_task.return_instances`.
    pub utask_instances: u32,
    /// `return_instance.stack`: address of the stack slot that was rewritten.
    pub instance_stack: u32,
    /// `return_instance.orig_ret_vaddr`: what was in it.
    pub instance_original: u32,
    /// `return_instance.next`.
    pub instance_next: u32,
}

/// Byte offsets of kernel fields, from the kernel's BTF (include/linux/sched.h, include/linux/mm_types.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BreakOffsets {
    /// `task_struct.mm`; 0 where the offsets are not known.
    pub task_mm: u32,
    /// `mm_struct.brk`.
    pub mm_brk: u32,
}

/// Per-CPU counters of what went wrong, by index into the map `LOSSES`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A sample found the ring buffer full.
    RingFull = 0,
    /// A sample found all scratch slots of its CPU in use.
    ScratchBusy = 1,
    /// A process event found the ring buffer full.
    EventRingFull = 2,
    /// A child did not fit the process map.
    ProcessMapFull = 3,
    /// A sampled block did not fit the map of live blocks.
    LiveFull = 4,
    /// A call did not fit the map of calls that are followed to their return.
    CallsFull = 5,
    /// A block was resized, and the record of it found the ring buffer full.
    ReleaseRingFull = 6,
    /// A traced process made another, and children are not traced.
    ChildLeft = 7,
}

/// Entries of `LOSSES`.
pub const LOSS_COUNT: u32 = 8;

const _: () = assert!(size_of::<Settings>() == 88);
const _: () = assert!(MAX_FUNCTIONS <= 255);
