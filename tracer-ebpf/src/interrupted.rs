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
    bits::ones_if_not_zero,
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
        start(memory, registers);
        unwind::walk(scratch, settings.max_frames, None);
        return;
    }
    let size = MAX_KERNEL_FRAMES * 8;
    // SAFETY: the destination is the beginning of `frames`, which is longer than `size`.
    let length = unsafe { bpf_get_stack(context, (&raw mut memory.frames).cast(), size, 0) };
    if length > 0 {
        memory.sample.frame_count = length as u32 / 8;
    }
    let Some(registers) = user_registers() else {
        // A thread of the kernel's making that works for the process, such as one of io_uring: it ends there.
        memory.sample.status = WalkStatus::Complete as u32;
        memory.sample.frame_pointer_frames = 0;
        memory.sample.stopped_at = 0;
        memory.sample.stopped_in = 0;
        return;
    };
    let trap = trap(&registers);
    start(memory, &registers);
    if trap == Trap::Ahead {
        memory.ip = registers.rip.wrapping_sub(1);
    }
    let limit = if trap == Trap::Unclear { 1 } else { settings.max_frames };
    unwind::walk(scratch, limit, None);
    if trap == Trap::Unclear {
        memory.sample.status = WalkStatus::Trapped as u32;
    }
}

/// Walks from where the current thread made a system call.
#[inline(always)]
pub fn walk_caller(registers: &pt_regs, scratch: *mut Scratch, settings: &Settings) {
    // SAFETY: the claimed slot.
    let memory = unsafe { &mut *scratch };
    memory.sample.frame_count = 0;
    start(memory, registers);
    unwind::walk(scratch, settings.max_frames, None);
}

/// Begins the walk at an instruction.
#[inline(always)]
fn start(memory: &mut Scratch, registers: &pt_regs) {
    memory.ip = registers.rip;
    memory.sp = registers.rsp;
    memory.bp = registers.rbp;
}

/// What a breakpoint (a probe's, say) has made of a thread's registers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trap {
    /// They are as they should be.
    Consistent,
    /// The thread stands behind the breakpoint and will be put back: the instruction that it covers has not run.
    Ahead,
    /// The thread stands at the breakpoint, and something was pushed last: by code before it, or by the kernel, which does a
    /// covered push in the thread's stead and then moves it on (push_emulate_op, arch/x86/kernel/uprobes.c).
    Unclear,
}

/// Behind a breakpoint with something pushed, the kernel has done the push and moved the thread on.
#[inline(always)]
fn trap(registers: &pt_regs) -> Trap {
    // `int3` leaves no number of a system call.
    if registers.orig_rax != u64::MAX {
        return Trap::Consistent;
    }
    let mut code = [0u8; 2];
    let from = registers.rip.wrapping_sub(1);
    // SAFETY: the destination is two bytes; the source is checked by the helper.
    if unsafe { bpf_probe_read_user((&raw mut code).cast(), 2, from as *const c_void) } != 0 {
        return Trap::Consistent;
    }
    match (code[0] == BREAKPOINT, code[1] == BREAKPOINT) {
        (_, true) if has_pushed(registers) => Trap::Unclear,
        (true, false) if !has_pushed(registers) => Trap::Ahead,
        _ => Trap::Consistent,
    }
}

/// Whether the last thing pushed is a register, and no return address: that is in none.
#[inline(always)]
fn has_pushed(registers: &pt_regs) -> bool {
    let mut top = 0u64;
    // SAFETY: the destination is one word; the source is checked by the helper.
    let result = unsafe { bpf_probe_read_user((&raw mut top).cast(), 8, registers.rsp as *const c_void) };
    let pt_regs { rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15, .. } = *registers;
    let differs = |register: u64| ones_if_not_zero(register ^ top);
    let low = differs(rax) & differs(rcx) & differs(rdx) & differs(rbx) & differs(rbp) & differs(rsi) & differs(rdi);
    let middle = differs(r8) & differs(r9) & differs(r10) & differs(r11);
    let high = differs(r12) & differs(r13) & differs(r14) & differs(r15);
    result == 0 && low & middle & high == 0
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
    let result = unsafe { bpf_probe_read_kernel(registers.as_mut_ptr().cast(), size_of::<pt_regs>() as u32, source) };
    if result != 0 {
        return None;
    }
    // SAFETY: the helper has filled it.
    let registers = unsafe { registers.assume_init() };
    (registers.cs & PRIVILEGE == PRIVILEGE).then_some(registers)
}
