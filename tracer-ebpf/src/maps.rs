//! The maps. User space finds them by the names of these statics.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::{Array, ArrayOfMaps, HashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use tracer_ebpf::abi::{
    allocation::{Countdown, FunctionCounters, MAX_FUNCTIONS},
    live::{Block, BlockKey, Call, CallKey},
    process::{Changes, MAX_PROCESSES, Process},
    sample::{MAX_FRAMES, Sample},
    settings::{LOSS_COUNT, Loss, Settings},
    tally::{Tallies, Tally},
    unwind::{MAX_RULES, MAX_SHARDS, Rule, SHARD_WORDS},
};

use crate::atomic;

/// What user space asks for.
#[btf_map]
pub static SETTINGS: Array<Settings, 1> = Array::new();

/// Exact counters by function slot, with one more for calibration.
#[btf_map]
pub static COUNTERS: PerCpuArray<FunctionCounters, { MAX_FUNCTIONS as usize + 1 }> = PerCpuArray::new();

/// The sampling process of each CPU.
#[btf_map]
pub static COUNTDOWN: PerCpuArray<Countdown, 1> = PerCpuArray::new();

/// See [`Loss`].
#[btf_map]
pub static LOSSES: PerCpuArray<u64, { LOSS_COUNT as usize }> = PerCpuArray::new();

/// See [`Tally`].
#[btf_map]
pub static TALLIES: PerCpuArray<Tallies, 1> = PerCpuArray::new();

/// Samples and process events for user space. User space sets the size.
#[btf_map]
pub static EVENTS: RingBuf<u8, { 4 << 20 }> = RingBuf::new();

/// Executable mappings by thread group id.
#[btf_map]
pub static PROCESSES: HashMap<u32, Process, { MAX_PROCESSES as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// What happened to the mappings of traced processes, by thread group id.
#[btf_map]
pub static CHANGES: HashMap<u32, Changes, { MAX_PROCESSES as usize }, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// Threads inside a system call that makes something executable or takes it away.
#[btf_map]
pub static MAPPING_THREADS: HashMap<u32, MappingCall, 4096, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// The program break of threads that are inside `brk`.
#[btf_map]
pub static BREAKS: HashMap<u32, u64, 4096, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// Page tables and rows.
#[btf_map]
pub static SHARDS: ArrayOfMaps<Array<Shard, 1, { BPF_F_MMAPABLE as usize }>, { MAX_SHARDS as usize }> =
    ArrayOfMaps::new();
/// The rule dictionary.
#[btf_map]
pub static RULES: Array<Rule, { MAX_RULES as usize }> = Array::new();

/// Sampled blocks that are in use. User space sets the size, here and in [`CALLS`], where it wants them followed.
#[btf_map]
pub static LIVE: HashMap<BlockKey, Block, 1> = HashMap::new();

/// Sampled calls under way.
#[btf_map]
pub static CALLS: HashMap<CallKey, Call, 1> = HashMap::new();

/// Memory of a walk, [`SCRATCH_SLOTS`] for each CPU.
#[btf_map]
pub static SCRATCH: PerCpuArray<Scratch, { SCRATCH_SLOTS as usize }> = PerCpuArray::new();

/// What a system call does to executable mappings; ranges are start and length, of length 0 where there is none.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MappingCall {
    /// Becomes executable. Start 0: at the address that the call returns.
    pub mapped: [u64; 2],
    /// Goes away.
    pub removed: [[u64; 2]; 2],
}

/// A shard's words.
pub type Shard = [u32; SHARD_WORDS as usize];

/// Walks that can be under way on one CPU: a program may be preempted by another task's, or interrupted by a CPU sample.
pub const SCRATCH_SLOTS: u32 = 4;
/// Frames of the kernel in a stack at most: one more than `kernel.perf_event_max_stack` is, unless somebody raised it.
pub const MAX_KERNEL_FRAMES: u32 = 128;
/// Words of stack that are read at once.
pub const WINDOW_WORDS: usize = 64;

/// Memory of one walk. The part that goes to user space lies at its front, in the layout of the record.
#[repr(C)]
pub struct Scratch {
    /// Header of the record.
    pub sample: Sample,
    /// Frames of the record.
    pub frames: [u64; MAX_FRAMES],
    /// Stack memory from `window_start` on.
    pub window: [u64; WINDOW_WORDS],
    /// Process address of the window; 0 when it is empty.
    pub window_start: u64,
    /// 1 while a walk uses this slot.
    pub busy: u64,
    /// Instruction pointer of the frame to unwind next.
    pub ip: u64,
    /// Its stack pointer.
    pub sp: u64,
    /// Its frame pointer register.
    pub bp: u64,
    /// 1 when `ip` is a return address (and the call therefore lies before it).
    pub is_return_address: u64,
    /// 1 when `ip` came from a frame-pointer step.
    pub by_frame_pointer: u64,
    /// Index of the mapping that the last frame was in.
    pub mapping: u64,
    /// Bytes from the stack pointer to the return address in the first frame, or all ones.
    pub displacement: u64,
    /// The caller's frame pointer register.
    pub next_bp: u64,
    /// The last word read.
    pub value: u64,
}

/// Counts a loss.
#[inline(always)]
pub fn count_loss(loss: Loss) {
    if let Some(counter) = LOSSES.get_ptr_mut(loss as u32) {
        // SAFETY: the pointer is to this CPU's counter, which the kernel keeps for the program's life.
        unsafe { atomic::add(counter, 1) };
    }
}

/// Adds to a tally.
#[inline(always)]
pub fn add_to(tally: Tally, amount: u64) {
    if let Some(sums) = TALLIES.get_ptr_mut(0) {
        // SAFETY: the pointer is to this CPU's sums, which the kernel keeps for the program's life, and to one of them.
        unsafe { atomic::add(sums.cast::<u64>().wrapping_add(tally as usize), amount) };
    }
}
