//! What makes a process grow: pages that it touches, memory that it maps, its program break. Counted and sampled like
//! allocations, from the user's instruction that caused them.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_ANY, pt_regs},
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_task},
};
use tracer_ebpf::abi::{
    allocation::PAGE_BYTES,
    settings::{Loss, Settings},
};

use crate::{
    allocation, interrupted,
    kernel_memory::read_kernel,
    maps::{BREAKS, SETTINGS, Scratch, count_loss},
    processes, sampling,
};

/// Offset of the result in a `sys_exit_*` record (its `format` file in tracefs).
const RESULT: usize = 16;
/// Results from here on are errors (`MAX_ERRNO`, include/linux/err.h).
const ERRORS: u64 = -4095i64 as u64;
/// Flag of `mmap` (include/uapi/asm-generic/mman-common.h).
const MAP_ANONYMOUS: u64 = 0x20;

/// Counter slots, in the order in which user space names them.
const FIRST: u32 = 0;
const SECOND: u32 = 1;

#[inline(always)]
pub fn page_fault(context: *mut c_void) {
    let Some(settings) = active() else { return };
    if let Some(scratch) = sampled(settings, FIRST, PAGE_BYTES) {
        interrupted::walk(context, scratch, settings);
        sampling::submit(scratch, settings);
        sampling::release(scratch);
    }
}

#[inline(always)]
pub fn mmap_exit(context: *mut c_void) {
    let Some(settings) = active() else { return };
    if result(context) >= ERRORS {
        return;
    }
    // The arguments of a system call stay in their registers: length, protection, flags.
    let Some(registers) = interrupted::user_registers() else { return };
    // Without any access it is address space that is put by, and nothing grows.
    if registers.r10 & MAP_ANONYMOUS != 0 && registers.rdx != 0 {
        system_call(settings, &registers, FIRST, pages(registers.rsi));
    }
}

#[inline(always)]
pub fn mremap_exit(context: *mut c_void) {
    let Some(settings) = active() else { return };
    if result(context) >= ERRORS {
        return;
    }
    // Address, old length, new length.
    let Some(registers) = interrupted::user_registers() else { return };
    let (old, new) = (pages(registers.rsi), pages(registers.rdx));
    if new > old {
        system_call(settings, &registers, SECOND, new - old);
    }
}

#[inline(always)]
pub fn brk_enter() {
    let Some(settings) = active() else { return };
    let offsets = settings.program_break;
    if offsets.task_mm == 0 {
        return;
    }
    // SAFETY: helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let memory = read_kernel(task + offsets.task_mm as u64);
    let old = read_kernel(memory + offsets.mm_brk as u64);
    let _ = BREAKS.insert(bpf_get_current_pid_tgid() as u32, old, BPF_ANY as u64);
}

#[inline(always)]
pub fn brk_exit(context: *mut c_void) {
    let Some(settings) = active() else { return };
    let thread = bpf_get_current_pid_tgid() as u32;
    // SAFETY: only this thread changes its entry.
    let Some(&old) = (unsafe { BREAKS.get(thread) }) else { return };
    let _ = BREAKS.remove(thread);
    // Where it fails, `brk` returns the break as it was.
    let new = result(context);
    if old == 0 || new <= old {
        return;
    }
    if let Some(registers) = interrupted::user_registers() {
        system_call(settings, &registers, FIRST, new - old);
    }
}

/// The settings, while a recording is under way and the current process is part of it.
#[inline(always)]
fn active() -> Option<&'static Settings> {
    let settings = SETTINGS.get(0)?;
    (settings.enabled != 0 && processes::is_traced()).then_some(settings)
}

/// Counts a system call that made the process grow, and records its stack where it is chosen.
#[inline(always)]
fn system_call(settings: &Settings, registers: &pt_regs, slot: u32, size: u64) {
    if let Some(scratch) = sampled(settings, slot, size) {
        interrupted::walk_caller(registers, scratch, settings);
        sampling::submit(scratch, settings);
        sampling::release(scratch);
    }
}

/// Counts an event; where it is chosen, a scratch slot that knows its size.
#[inline(always)]
fn sampled(settings: &Settings, slot: u32, size: u64) -> Option<*mut Scratch> {
    if !allocation::count(settings, slot, size) {
        return None;
    }
    let Some(scratch) = sampling::claim() else {
        count_loss(Loss::ScratchBusy);
        return None;
    };
    // SAFETY: the claimed slot is this program's alone until it is released.
    let memory = unsafe { &mut *scratch };
    memory.sample.function = slot;
    memory.sample.size = size;
    memory.sample.interval = settings.interval;
    Some(scratch)
}

/// What a system call returned.
#[inline(always)]
fn result(context: *mut c_void) -> u64 {
    // SAFETY: a load from the record at an offset of its format.
    unsafe { context.wrapping_byte_add(RESULT).cast::<u64>().read() }
}

/// A length as the kernel maps it.
#[inline(always)]
fn pages(length: u64) -> u64 {
    length.wrapping_add(PAGE_BYTES - 1) & !(PAGE_BYTES - 1)
}
