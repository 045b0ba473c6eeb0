//! What happens to traced processes: mappings that go and come, children, new programs, ends.
//!
//! A mapping that goes is marked at once, in the process's own context and before the kernel acts, so that an address that is
//! used again is never unwound by the old table. Everything else is user space's work, which an event starts.

use core::{ffi::c_void, mem::offset_of};

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_loop, bpf_map_update_elem, bpf_send_signal},
    },
};
use tracer_ebpf::abi::{
    process::{MAX_MAPPINGS, Mapping, MappingKind, Process},
    sample::ProcessChange,
    settings::Loss,
};

use crate::{
    atomic,
    bits::mask,
    events::process_changed,
    maps::{MAPPING_THREADS, PROCESSES, REMOVALS, SETTINGS, count_loss},
};

/// Offset of the first argument in a `sys_enter_*` record (its `format` file in tracefs): common fields and the number of the
/// system call take 16 bytes, then each argument takes 8.
const ARGUMENTS: usize = 16;

const MAP_FIXED: u64 = 0x10;
const MREMAP_FIXED: u64 = 2;
const PROT_EXEC: u64 = 4;
const SIGSTOP: u32 = 19;
const CLONE_THREAD: u64 = 0x1_0000;

/// Whether the current process is traced.
#[inline(always)]
pub fn is_traced() -> bool {
    PROCESSES.get_ptr((bpf_get_current_pid_tgid() >> 32) as u32).is_some()
}

pub fn munmap_enter(context: *mut c_void) {
    removed(argument(context, 0), argument(context, 1));
}

pub fn mremap_enter(context: *mut c_void) {
    let moved = removed(argument(context, 0), argument(context, 1));
    if argument(context, 3) & MREMAP_FIXED != 0 {
        removed(argument(context, 4), argument(context, 2));
    }
    if moved {
        expect_executable();
    }
}

pub fn mmap_enter(context: *mut c_void) {
    if argument(context, 3) & MAP_FIXED != 0 {
        removed(argument(context, 0), argument(context, 1));
    }
    if argument(context, 2) & PROT_EXEC != 0 {
        expect_executable();
    }
}

pub fn mprotect_enter(context: *mut c_void) {
    if argument(context, 2) & PROT_EXEC != 0 {
        expect_executable();
    }
}

pub fn mapped_exit(_context: *mut c_void) {
    let ids = bpf_get_current_pid_tgid();
    let thread = ids as u32;
    if MAPPING_THREADS.remove(thread).is_ok() {
        process_changed(ProcessChange::Mapped, (ids >> 32) as u32, 0);
    }
}

pub fn task_new(context: *mut c_void) {
    // `task:task_newtask`: pid at 8, clone_flags at 32.
    // SAFETY: a load from the record at an offset of its format.
    let child = unsafe { context.wrapping_byte_add(8).cast::<u32>().read() };
    // SAFETY: as above.
    let flags = unsafe { context.wrapping_byte_add(32).cast::<u64>().read() };
    if flags & CLONE_THREAD != 0 || SETTINGS.get(0).is_none_or(|settings| settings.follow_children == 0) {
        return;
    }
    let parent = (bpf_get_current_pid_tgid() >> 32) as u32;
    let Some(process) = PROCESSES.get_ptr(parent) else { return };
    // SAFETY: a map value is a valid source for the same map.
    let removals = unsafe { (*process).removals };
    let _ = REMOVALS.insert(child, removals, BPF_ANY as u64);
    // SAFETY: key and value are of the map's sizes; the value stays valid while the program runs.
    let result = unsafe {
        bpf_map_update_elem(
            (&raw const PROCESSES).cast_mut().cast(),
            (&raw const child).cast_mut().cast(),
            process.cast_mut().cast(),
            BPF_ANY as u64,
        )
    };
    if result != 0 {
        count_loss(Loss::ProcessMapFull);
    }
    process_changed(ProcessChange::Forked, child, parent);
}

pub fn task_exec(_context: *mut c_void) {
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    let Some(traced) = PROCESSES.get_ptr_mut(process) else { return };
    // It stays traced, but nothing that was mapped is any more.
    // SAFETY: the kernel keeps the value while the program runs.
    let traced = unsafe { &mut *traced };
    traced.count = 0;
    count_removal(process, traced);
    process_changed(ProcessChange::Executed, process, 0);
    stop_launched();
}

/// Stops the current process if it is the one that tracer has started: before its next instruction, so that user space can
/// get ready. bpf_send_signal (Linux 5.3) sends to all threads, of which there is one at these moments.
#[inline(always)]
pub fn stop_launched() {
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    if SETTINGS.get(0).is_some_and(|settings| settings.launched == process) {
        // SAFETY: helper with a valid signal.
        unsafe { bpf_send_signal(SIGSTOP) };
    }
}

pub fn task_exit(_context: *mut c_void) {
    let ids = bpf_get_current_pid_tgid();
    let process = (ids >> 32) as u32;
    if process != ids as u32 {
        return;
    }
    if PROCESSES.remove(process).is_ok() {
        let _ = REMOVALS.remove(process);
        process_changed(ProcessChange::Exited, process, 0);
    }
}

/// An argument of the system call that is entered.
#[inline(always)]
fn argument(context: *mut c_void, index: usize) -> u64 {
    // SAFETY: a load from the record at an offset of its format.
    unsafe { context.wrapping_byte_add(ARGUMENTS + index * 8).cast::<u64>().read() }
}

/// Something executable will stand in this process when the system call returns.
#[inline(always)]
fn expect_executable() {
    let ids = bpf_get_current_pid_tgid();
    let process = (ids >> 32) as u32;
    if PROCESSES.get_ptr(process).is_some() {
        let _ = MAPPING_THREADS.insert(ids as u32, process, BPF_ANY as u64);
    }
}

/// The range `[start, end)` that goes away, and the mappings it may hit.
struct Removal {
    process: *mut Process,
    start: u64,
    end: u64,
    hit: u64,
}

/// Marks all mappings of the current process that overlap a range; true when there were any.
#[inline(always)]
fn removed(start: u64, length: u64) -> bool {
    let id = (bpf_get_current_pid_tgid() >> 32) as u32;
    let Some(process) = PROCESSES.get_ptr_mut(id) else { return false };
    let mut removal = Removal { process, start, end: start.saturating_add(length), hit: 0 };
    // SAFETY: the kernel keeps the value while the program runs.
    let count = unsafe { (*process).count };
    let count = if count > MAX_MAPPINGS as u32 { MAX_MAPPINGS as u32 } else { count };
    // SAFETY: the callback has the signature bpf_loop asks for, and its context outlives the call.
    unsafe { bpf_loop(count, mark_removed as *mut c_void, (&raw mut removal).cast(), 0) };
    if removal.hit == 0 {
        return false;
    }
    // SAFETY: the kernel keeps the value while the program runs.
    count_removal(id, unsafe { &mut *process });
    process_changed(ProcessChange::Mapped, id, 0);
    true
}

/// Counts a removal in this copy and beside it: a copy that user space read before this moment will differ from the counter.
#[inline(always)]
fn count_removal(id: u32, process: &mut Process) {
    if let Some(removals) = REMOVALS.get_ptr_mut(id) {
        // SAFETY: aligned map value.
        unsafe { atomic::add(removals, 1) };
        // SAFETY: aligned field of a map value.
        unsafe { atomic::add(&raw mut process.removals, 1) };
    }
}

unsafe extern "C" fn mark_removed(index: u64, context: *mut c_void) -> i64 {
    // SAFETY: bpf_loop passes on the context that `removed` gave.
    let removal = unsafe { &mut *context.cast::<Removal>() };
    let index = mask::<{ MAX_MAPPINGS as u64 - 1 }>(index) as usize;
    let mappings = removal.process.wrapping_byte_add(offset_of!(Process, mappings)).cast::<Mapping>();
    // SAFETY: the index is below MAX_MAPPINGS, and the kernel keeps the value while the program runs.
    let mapping = unsafe { &mut *mappings.wrapping_add(index) };
    if mapping.start >= removal.end {
        return 1;
    }
    if mapping.end > removal.start && mapping.kind != MappingKind::Gone as u8 {
        mapping.kind = MappingKind::Gone as u8;
        removal.hit = 1;
    }
    0
}
