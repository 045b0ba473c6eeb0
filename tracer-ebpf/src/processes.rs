//! What happens to traced processes: mappings that go and come, children, new programs, ends.
//!
//! A mapping that goes is marked at once, in the process's own context and before the kernel acts, so that an address that is
//! used again is never unwound by the old table. It is marked again when the kernel has acted: user space may have read the
//! mappings in between. Everything else is user space's work, which an event starts.

use core::{ffi::c_void, mem::offset_of};

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_task, bpf_loop, bpf_map_update_elem, bpf_send_signal},
    },
};
use tracer_ebpf::abi::{
    process::{self, Changes, MAX_MAPPINGS, Mapping, MappingKind, Process, RECENT_RANGES},
    sample::ProcessChange,
    settings::{Loss, Settings},
};

use crate::{
    atomic,
    bits::mask,
    events::process_changed,
    kernel_memory::read_kernel,
    maps::{CHANGES, MAPPING_THREADS, MappingCall, PROCESSES, SETTINGS, count_loss},
    unwind::tables::version_of,
};

/// Offset of the first argument in a `sys_enter_*` record (its `format` file in tracefs): common fields and the number of the
/// system call take 16 bytes, then each argument takes 8.
const ARGUMENTS: usize = 16;

const MAP_FIXED: u64 = 0x10;
const MREMAP_FIXED: u64 = 2;
const PROT_EXEC: u64 = 4;
const SIGCONT: u32 = 18;
const SIGSTOP: u32 = 19;
/// In `signal_struct.flags`: the process ends, by a signal or by exit_group(2) (include/linux/sched/signal.h).
const SIGNAL_GROUP_EXIT: u32 = 4;
const CLONE_THREAD: u64 = 0x1_0000;

/// Whether the current process is traced.
#[inline(always)]
pub fn is_traced() -> bool {
    PROCESSES.get_ptr((bpf_get_current_pid_tgid() >> 32) as u32).is_some()
}

pub fn munmap_enter(context: *mut c_void) {
    entered([0, 0], [range(context, 0, 1), [0, 0]]);
}

pub fn mremap_enter(context: *mut c_void) {
    let fixed = argument(context, 3) & MREMAP_FIXED != 0;
    let target = if fixed { range(context, 4, 2) } else { [0, 0] };
    let old = range(context, 0, 1);
    // Whether it is executable at its new place, only its old one tells: moving code counts as mapping it.
    let moved = [target[0], argument(context, 2)];
    if entered([0, 0], [old, target]) {
        expect(MappingCall { mapped: moved, removed: [old, target] });
    }
}

pub fn mmap_enter(context: *mut c_void) {
    let fixed = argument(context, 3) & MAP_FIXED != 0;
    let there = if fixed { range(context, 0, 1) } else { [0, argument(context, 1)] };
    let mapped = if argument(context, 2) & PROT_EXEC != 0 { there } else { [0, 0] };
    entered(mapped, [if fixed { there } else { [0, 0] }, [0, 0]]);
}

pub fn mprotect_enter(context: *mut c_void) {
    if argument(context, 2) & PROT_EXEC != 0 {
        entered(range(context, 0, 1), [[0, 0], [0, 0]]);
    }
}

pub fn mapping_exit(context: *mut c_void) {
    let thread = bpf_get_current_pid_tgid() as u32;
    // SAFETY: only this thread changes its entry.
    let Some(&call) = (unsafe { MAPPING_THREADS.get(thread) }) else { return };
    let _ = MAPPING_THREADS.remove(thread);
    let Some((process, changes, version)) = current() else { return };
    if call.mapped[1] != 0 {
        // The result of a system call has the place of its first argument.
        let start = if call.mapped[0] == 0 { argument(context, 0) } else { call.mapped[0] };
        remember(changes, start, start.saturating_add(call.mapped[1]));
    }
    if call.removed[0][1] != 0 || call.removed[1][1] != 0 {
        mark(process, call.removed[0]);
        mark(process, call.removed[1]);
        count_removal(process, changes, version);
    }
    changed();
}

pub fn task_new(context: *mut c_void) {
    // `task:task_newtask`: pid at 8, clone_flags at 32.
    // SAFETY: a load from the record at an offset of its format.
    let child = unsafe { context.wrapping_byte_add(8).cast::<u32>().read() };
    // SAFETY: as above.
    let flags = unsafe { context.wrapping_byte_add(32).cast::<u64>().read() };
    if flags & CLONE_THREAD != 0 {
        return;
    }
    let parent = (bpf_get_current_pid_tgid() >> 32) as u32;
    let Some(process) = PROCESSES.get_ptr(parent) else { return };
    if SETTINGS.get(0).is_none_or(|settings| settings.follow_children == 0) {
        count_loss(Loss::ChildLeft);
        return;
    }
    // SAFETY: a map value is a valid source for the same map.
    let copy = unsafe { &*process };
    // SAFETY: as above.
    let before = unsafe { version_of(process, parent) };
    let mut changes = Changes { removals: copy.removals, mapped: copy.mapped.into(), recent: [[0; 2]; RECENT_RANGES] };
    if CHANGES.insert(child, changes, BPF_ANY as u64).is_err() {
        // A copy of the mappings that no removal would be marked in must not be walked by.
        count_loss(Loss::ProcessMapFull);
        return;
    }
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
        let _ = CHANGES.remove(child);
        count_loss(Loss::ProcessMapFull);
        return;
    }
    // SAFETY: as above.
    if before.is_none() || unsafe { version_of(process, parent) } != before {
        // It is not known what was copied: user space reads the child's own.
        changes.removals += 1;
        let _ = CHANGES.insert(child, changes, BPF_ANY as u64);
    }
    if let Some(copied) = PROCESSES.get_ptr_mut(child) {
        // SAFETY: the kernel keeps the value while the program runs, and nobody else knows of it yet.
        let copied = unsafe { &mut *copied };
        copied.version = process::version((copied.version >> 32) as u32, child);
        copied.version_again = copied.version;
    }
    process_changed(ProcessChange::Forked, child, parent);
}

pub fn task_exec(context: *mut c_void) {
    // `sched:sched_process_exec`: old_pid at 16.
    // SAFETY: a load from the record at an offset of its format.
    let thread = unsafe { context.wrapping_byte_add(16).cast::<u32>().read() };
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    let Some(traced) = PROCESSES.get_ptr_mut(process) else { return };
    // It stays traced, but nothing that was mapped is any more.
    // SAFETY: the kernel keeps the value while the program runs.
    let version = unsafe { version_of(traced, process) };
    // SAFETY: as above.
    let traced = unsafe { &mut *traced };
    traced.count = 0;
    if let Some(changes) = CHANGES.get_ptr_mut(process) {
        // SAFETY: as above.
        count_removal(traced, unsafe { &mut *changes }, version);
    }
    process_changed(ProcessChange::Executed, process, thread);
    stop_launched();
}

/// Stops the current process if it is the one that tracer has started: before its next instruction, so that user space can
/// get ready. bpf_send_signal (Linux 5.3) sends to all threads, of which there is one at these moments.
///
/// These programs outlive a killed tracer for some milliseconds, and the signal by which the kernel lets its child go on
/// may have come by then. So tracer is looked for when the stop is out: if it is not ending yet, that signal is still to come.
#[inline(always)]
pub fn stop_launched() {
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    let Some(settings) = SETTINGS.get(0) else { return };
    if settings.launched == process {
        // SAFETY: helper with a valid signal.
        unsafe { bpf_send_signal(SIGSTOP) };
        if tracer_is_gone(settings) {
            // SAFETY: as above.
            unsafe { bpf_send_signal(SIGCONT) };
        }
    }
}

/// Whether the parent of the current process is another than tracer, or is ending.
#[inline(always)]
fn tracer_is_gone(settings: &Settings) -> bool {
    let offsets = &settings.parents;
    if offsets.task_real_parent == 0 {
        return false;
    }
    // SAFETY: helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let parent = read_kernel(task + offsets.task_real_parent as u64);
    let process = read_kernel(parent + offsets.task_tgid as u64) as u32;
    let signal = read_kernel(parent + offsets.task_signal as u64);
    let flags = read_kernel(signal + offsets.signal_flags as u64) as u32;
    process != settings.tracer || flags & SIGNAL_GROUP_EXIT != 0
}

pub fn task_exit(_context: *mut c_void) {
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    if PROCESSES.get_ptr(process).is_some() && is_last_thread() && PROCESSES.remove(process).is_ok() {
        let _ = CHANGES.remove(process);
        process_changed(ProcessChange::Exited, process, 0);
    }
}

/// Whether no thread of the current process is left when this one has ended. Its main thread may end before others do, and does so when
/// another one runs a new program (`de_thread` in fs/exec.c). The kernel has counted the current thread out by now (`do_exit` in
/// kernel/exit.c). Where the counter's place is not known, the main thread stands for the process.
#[inline(always)]
fn is_last_thread() -> bool {
    let ids = bpf_get_current_pid_tgid();
    let offsets = match SETTINGS.get(0) {
        Some(settings) if settings.parents.task_signal != 0 => &settings.parents,
        _ => return (ids >> 32) as u32 == ids as u32,
    };
    // SAFETY: helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let signal = read_kernel(task + offsets.task_signal as u64);
    read_kernel(signal + offsets.signal_live as u64) as u32 == 0
}

/// An argument of the system call that is entered.
#[inline(always)]
fn argument(context: *mut c_void, index: usize) -> u64 {
    // SAFETY: a load from the record at an offset of its format.
    unsafe { context.wrapping_byte_add(ARGUMENTS + index * 8).cast::<u64>().read() }
}

/// Start and length of a range, from two arguments.
#[inline(always)]
fn range(context: *mut c_void, start: usize, length: usize) -> [u64; 2] {
    [argument(context, start), argument(context, length)]
}

/// What is known of the current process, and the version of its copy of the mappings; `None` when it is not traced.
#[inline(always)]
fn current() -> Option<(&'static mut Process, &'static mut Changes, Option<u64>)> {
    let id = (bpf_get_current_pid_tgid() >> 32) as u32;
    let (process, changes) = (PROCESSES.get_ptr_mut(id)?, CHANGES.get_ptr_mut(id)?);
    // SAFETY: the kernel keeps the value while the program runs.
    let version = unsafe { version_of(process, id) };
    // SAFETY: as above.
    let process = unsafe { &mut *process };
    // SAFETY: as above.
    Some((process, unsafe { &mut *changes }, version))
}

/// Tells user space to look at the current process.
#[inline(always)]
fn changed() {
    process_changed(ProcessChange::Mapped, (bpf_get_current_pid_tgid() >> 32) as u32, 0);
}

/// A system call of a traced process begins that makes `mapped` executable and takes `removed` away; true when that takes away
/// something executable.
#[inline(always)]
fn entered(mapped: [u64; 2], removed: [[u64; 2]; 2]) -> bool {
    let Some((process, changes, version)) = current() else { return false };
    // Every range is looked at: each marks what it hits.
    let hit = mark(process, removed[0]) | mark(process, removed[1]);
    // Of a process whose mappings are being read for the first time, any may be among them.
    let unknown = process.count == 0 && removed[0][1] | removed[1][1] != 0;
    let removes = hit || unknown || is_recent(process, changes, removed[0]) || is_recent(process, changes, removed[1]);
    if removes {
        count_removal(process, changes, version);
        changed();
    }
    if removes || mapped[1] != 0 {
        expect(MappingCall { mapped, removed: if removes { removed } else { [[0, 0]; 2] } });
    }
    removes
}

/// Has [`mapping_exit`] finish what this thread's system call does.
#[inline(always)]
fn expect(call: MappingCall) {
    let _ = MAPPING_THREADS.insert(bpf_get_current_pid_tgid() as u32, call, BPF_ANY as u64);
}

/// Counts a removal in the copy of the mappings and beside it: a copy that user space read before this moment will differ from
/// the counter. `version`: of the copy that was marked. Where another stands in its memory by now, it was counted in what is not marked:
/// then the counter goes on by one more, so that they differ.
#[inline(always)]
fn count_removal(process: &mut Process, changes: &mut Changes, version: Option<u64>) {
    // SAFETY: aligned field of a map value.
    unsafe { atomic::add(&raw mut changes.removals, 1) };
    // SAFETY: as above.
    unsafe { atomic::add(&raw mut process.removals, 1) };
    // SAFETY: as above.
    if version.is_none() || unsafe { version_of(process, (bpf_get_current_pid_tgid() >> 32) as u32) } != version {
        // SAFETY: as above.
        unsafe { atomic::add(&raw mut changes.removals, 1) };
    }
}

/// Notes a range that became executable. Loaders map under a lock of their own: no other thread of the process is here.
#[inline(always)]
fn remember(changes: &mut Changes, start: u64, end: u64) {
    let index = mask::<{ RECENT_RANGES as u64 - 1 }>(changes.mapped) as usize;
    let recent = (&raw mut changes.recent).cast::<[u64; 2]>().wrapping_add(index);
    // SAFETY: the index is below RECENT_RANGES.
    unsafe { recent.write([start, end]) };
    // SAFETY: aligned field of a map value.
    unsafe { atomic::add(&raw mut changes.mapped, 1) };
}

/// Whether a range, or a part of it, may have become executable after user space read the mappings.
#[inline(always)]
fn is_recent(process: &Process, changes: &Changes, [start, length]: [u64; 2]) -> bool {
    let unread = (changes.mapped as u32).wrapping_sub(process.mapped);
    if length == 0 || unread == 0 {
        return false;
    }
    // Ranges that were read are no exception: user space may be reading them again while they go.
    let end = start.saturating_add(length);
    unread > RECENT_RANGES as u32 || changes.recent.iter().any(|range| range[0] < end && range[1] > start)
}

/// A range that goes away, and the mappings it may hit.
struct Removal {
    process: *mut Process,
    start: u64,
    end: u64,
    hit: u64,
}

/// Marks all mappings that overlap a range; true when there were any that were not marked before.
#[inline(always)]
fn mark(process: &mut Process, [start, length]: [u64; 2]) -> bool {
    if length == 0 {
        return false;
    }
    let count = if process.count > MAX_MAPPINGS as u32 { MAX_MAPPINGS as u32 } else { process.count };
    let mut removal = Removal { process, start, end: start.saturating_add(length), hit: 0 };
    // SAFETY: the callback has the signature bpf_loop asks for, and its context outlives the call.
    unsafe { bpf_loop(count, mark_removed as *mut c_void, (&raw mut removal).cast(), 0) };
    removal.hit != 0
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
