//! Stacks of threads that were interrupted anywhere, in their own code or in the kernel's: the walk begins at an instruction,
//! not at a function's entry.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{bpf_perf_event_data, pt_regs},
    helpers::generated::{
        bpf_get_current_task_btf, bpf_get_stack, bpf_probe_read_kernel, bpf_probe_read_user, bpf_task_pt_regs,
    },
};
use tracer_ebpf::abi::{sample::WalkStatus, settings::Settings};

use crate::{
    maps::{MAX_KERNEL_FRAMES, Scratch},
    unwind,
};

/// The privilege level in a code segment selector, which is 3 for user mode.
const PRIVILEGE: u64 = 3;
/// The instruction `int3`, which probes and debuggers put over others.
const BREAKPOINT: u8 = 0xcc;

/// Walks from where a perf event hit the current thread.
#[inline(always)]
pub fn walk(context: *mut c_void, scratch: *mut Scratch, settings: &Settings) {
    // SAFETY: the context of a perf event program.
    let registers = unsafe { &(*context.cast::<bpf_perf_event_data>()).regs };
    // SAFETY: the claimed slot.
    let memory = unsafe { &mut *scratch };
    memory.sample.frame_count = 0;
    if registers.cs & PRIVILEGE == PRIVILEGE {
        memory.ip = registers.rip;
        memory.sp = registers.rsp;
        memory.bp = registers.rbp;
        unwind::walk(scratch, settings, None);
        return;
    }
    let size = MAX_KERNEL_FRAMES * 8;
    // SAFETY: the destination is the beginning of `frames`, which is longer than `size`.
    let length = unsafe { bpf_get_stack(context, (&raw mut memory.frames).cast(), size, 0) };
    if length > 0 {
        memory.sample.frame_count = length as u32 / 8;
    }
    walk_user(scratch, settings);
}

/// Walks from where the current thread entered the kernel.
#[inline(always)]
pub fn walk_user(scratch: *mut Scratch, settings: &Settings) {
    // SAFETY: the claimed slot.
    let memory = unsafe { &mut *scratch };
    let Some(registers) = user_registers() else {
        // A thread of the kernel's making that works for the process, such as one of io_uring: it ends there.
        memory.sample.status = WalkStatus::Complete as u32;
        memory.sample.frame_pointer_frames = 0;
        memory.sample.stopped_at = 0;
        memory.sample.stopped_in = 0;
        return;
    };
    memory.ip = registers.rip;
    memory.sp = registers.rsp;
    memory.bp = registers.rbp;
    if registers.orig_rax == u64::MAX && is_breakpoint(registers.rip.wrapping_sub(1)) {
        // The thread stands behind a breakpoint and will be put back: the instruction that it covers has not run.
        memory.ip = registers.rip.wrapping_sub(1);
    }
    unwind::walk(scratch, settings, None);
}

/// The registers with which the current thread entered the kernel. `bpf_task_pt_regs` is there from Linux 5.15 on.
#[inline(always)]
pub fn user_registers() -> Option<pt_regs> {
    let mut registers = core::mem::MaybeUninit::<pt_regs>::uninit();
    // SAFETY: helper without arguments.
    let task = unsafe { bpf_get_current_task_btf() };
    // SAFETY: the current task.
    let source = unsafe { bpf_task_pt_regs(task) } as *const c_void;
    // SAFETY: the destination is as long as said; the source is checked by the helper.
    let result = unsafe {
        bpf_probe_read_kernel(registers.as_mut_ptr().cast(), size_of::<pt_regs>() as u32, source)
    };
    if result != 0 {
        return None;
    }
    // SAFETY: the helper has filled it.
    let registers = unsafe { registers.assume_init() };
    (registers.cs & PRIVILEGE == PRIVILEGE).then_some(registers)
}

/// Whether a breakpoint stands at an address.
#[inline(always)]
fn is_breakpoint(address: u64) -> bool {
    let mut byte = 0u8;
    // SAFETY: the destination is one byte; the source is checked by the helper.
    let result = unsafe { bpf_probe_read_user((&raw mut byte).cast(), 1, address as *const c_void) };
    result == 0 && byte == BREAKPOINT
}
