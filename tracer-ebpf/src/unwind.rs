//! The walk: from the registers of a thread to its outermost frame, by unwind tables.
//!
//! All state lies in the scratch slot (map memory). On the BPF stack the verifier would track it precisely, see no two
//! iterations as equal, and give up.

use core::{ffi::c_void, mem::offset_of};

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_get_current_task, bpf_loop, bpf_probe_read_kernel, bpf_probe_read_user},
};
use tracer_ebpf::abi::{
    process::{MAX_MAPPINGS, Mapping, MappingKind, Process},
    sample::{MAX_FRAMES, WalkStatus},
    unwind::{RBP_SAME, RBP_SAVED, Row, Rule, RuleKind, SHARD_WORDS},
};

use crate::{
    bits::{mask, ones_if_not_above},
    maps::{CHANGES, MAX_KERNEL_FRAMES, PROCESSES, RULES, SETTINGS, SHARDS, Scratch, Shard, WINDOW_WORDS},
};

/// No displacement is known: the first frame is unwound by its table.
const BY_TABLE: u64 = u64::MAX;
/// Or-ed to a displacement: rbp is the first frame's own, and its caller's stands right below the return address.
const FRAME_POINTER_SAVED: u64 = 1;
/// What a loop body returns to `bpf_loop`.
const CONTINUE: i64 = 0;
const STOP: i64 = 1;

/// What a step needs besides the scratch slot. Lies on the BPF stack: two pointers and a constant.
struct Walk {
    scratch: *mut Scratch,
    process: *const Process,
}

/// Walks the current thread's stack from `ip`, `sp`, `bp` in the scratch slot and leaves frames, behind those that it holds
/// already, and status there.
///
/// `displacement`: bytes from the stack pointer to the return address, where the probe knows it (at a function's entry);
/// possibly with [`FRAME_POINTER_SAVED`]; without it the first frame is unwound by table like any other.
#[inline(always)]
pub fn walk(scratch: *mut Scratch, max_frames: u32, displacement: Option<u64>) {
    // SAFETY: the claimed slot.
    let memory = unsafe { &mut *scratch };
    // Frames of the kernel may be there already.
    let first =
        if memory.sample.frame_count > MAX_KERNEL_FRAMES { MAX_KERNEL_FRAMES } else { memory.sample.frame_count };
    memory.sample.frame_pointer_frames = 0;
    memory.sample.stopped_at = memory.ip;
    memory.sample.stopped_in = 0;
    memory.window_start = 0;
    memory.is_return_address = 0;
    memory.by_frame_pointer = 0;
    memory.mapping = 0;
    memory.displacement = displacement.unwrap_or(BY_TABLE);
    let id = (bpf_get_current_pid_tgid() >> 32) as u32;
    let Some(process) = PROCESSES.get_ptr(id) else {
        memory.sample.status = WalkStatus::NoProcess as u32;
        return;
    };
    // SAFETY: the kernel keeps the value while the program runs; a counter is read once.
    let removals = unsafe { CHANGES.get(id) }.map_or(0, |changes| changes.removals);
    // SAFETY: as above.
    if unsafe { (*process).removals } != removals {
        memory.sample.status = WalkStatus::Stale as u32;
        return;
    }
    memory.sample.status = WalkStatus::TooDeep as u32;
    let room = MAX_FRAMES as u32 - first;
    let limit = if max_frames > room { room } else { max_frames };
    let mut walk = Walk { scratch, process };
    // SAFETY: the callback has the signature bpf_loop asks for, and its context outlives the call.
    unsafe { bpf_loop(limit, step as *mut c_void, (&raw mut walk).cast(), 0) };
}

/// One frame: find its mapping, note it, find its rule, go to its caller.
unsafe extern "C" fn step(_index: u64, context: *mut c_void) -> i64 {
    // SAFETY: bpf_loop passes on the context that `walk` gave.
    let walk = unsafe { &*context.cast::<Walk>() };
    // SAFETY: the claimed slot; nothing else holds a reference while the loop runs.
    let memory = unsafe { &mut *walk.scratch };
    let pc = memory.ip.wrapping_sub(memory.is_return_address);
    if !find_mapping(memory, walk.process, pc) {
        return unmapped(memory);
    }
    let index = mask::<{ MAX_MAPPINGS as u64 - 1 }>(memory.mapping) as usize;
    // SAFETY: the index is below MAX_MAPPINGS, and the kernel keeps the value while the program runs.
    let mapping = unsafe { &*mappings(walk.process).wrapping_add(index) };
    if mapping.kind == MappingKind::Gone as u8 {
        // Whatever stands there now, it is not that module.
        return stop(memory, WalkStatus::NoMapping);
    }
    let elf_address = pc.wrapping_sub(mapping.bias);
    push(memory, mapping, elf_address);

    let mut rule = Rule { kind: RuleKind::Rbp as u8, rbp: RBP_SAVED, rbp_offset: -16, cfa_offset: 16 };
    let mut by_frame_pointer = 0;
    if memory.displacement != BY_TABLE {
        rule = Rule {
            kind: RuleKind::Rsp as u8,
            rbp: if memory.displacement & FRAME_POINTER_SAVED != 0 { RBP_SAVED } else { RBP_SAME },
            rbp_offset: -16,
            cfa_offset: (memory.displacement & !FRAME_POINTER_SAVED) as i32 + 8,
        };
        memory.displacement = BY_TABLE;
    } else if mapping.kind == MappingKind::Table as u8 {
        match find_rule(mapping, elf_address) {
            Ok(found) => rule = found,
            Err(status) => return stop(memory, status),
        }
    } else if mapping.kind == MappingKind::FramePointer as u8 {
        if memory.bp == 0 {
            // The ABI marks the outermost frame so (System V x86_64, 3.4.1).
            return stop(memory, WalkStatus::Complete);
        }
        by_frame_pointer = 1;
    } else {
        return stop(memory, WalkStatus::NoTable);
    }

    let mut cfa;
    if rule.kind == RuleKind::Rsp as u8 {
        cfa = memory.sp;
    } else if rule.kind == RuleKind::Rbp as u8 {
        cfa = memory.bp;
    } else {
        return special_step(memory, rule);
    }
    cfa = cfa.wrapping_add_signed(rule.cfa_offset as i64);
    if rule.rbp == RBP_SAVED {
        if !read(memory, cfa.wrapping_add_signed(rule.rbp_offset as i64)) {
            return stop(memory, WalkStatus::Unreadable);
        }
        memory.next_bp = memory.value;
    } else {
        memory.next_bp = memory.bp;
    }
    memory.by_frame_pointer = by_frame_pointer;
    to_caller(memory, cfa)
}

/// Goes to the caller: its return address is at CFA-8, its stack pointer is the CFA, its rbp is in `next_bp`.
#[inline(always)]
fn to_caller(memory: &mut Scratch, cfa: u64) -> i64 {
    if cfa <= memory.sp {
        return stop(memory, WalkStatus::NotAbove);
    }
    if !read(memory, cfa.wrapping_sub(8)) {
        return stop(memory, WalkStatus::Unreadable);
    }
    let return_address = memory.value;
    if return_address == 0 {
        return stop(memory, WalkStatus::Complete);
    }
    memory.ip = return_address;
    memory.sp = cfa;
    memory.bp = memory.next_bp;
    memory.is_return_address = 1;
    CONTINUE
}

/// An address in no mapping. Where another tool has put a return probe on the callee, it is the kernel's trampoline
/// (`[uprobes]`, always at the start of a page), and the kernel knows the address that belongs here.
#[inline(never)]
fn unmapped(memory: &mut Scratch) -> i64 {
    if memory.is_return_address == 1 && memory.ip & 0xfff == 0 {
        let original = replaced_return_address(memory.sp.wrapping_sub(8));
        if original != 0 {
            memory.ip = original;
            return CONTINUE;
        }
    }
    stop(memory, WalkStatus::NoMapping)
}

/// What stood in a stack slot before a return probe replaced it; 0 when none did.
#[inline(always)]
fn replaced_return_address(slot: u64) -> u64 {
    /// Return probes that a thread can be inside of and still be resolved.
    const NESTED: usize = 16;
    let Some(settings) = SETTINGS.get(0) else { return 0 };
    let offsets = &settings.return_probes;
    if offsets.task_utask == 0 {
        return 0;
    }
    // SAFETY: helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let utask = read_kernel(task + offsets.task_utask as u64);
    let mut instance = read_kernel(utask + offsets.utask_instances as u64);
    for _ in 0..NESTED {
        if instance == 0 {
            return 0;
        }
        if read_kernel(instance + offsets.instance_stack as u64) == slot {
            return read_kernel(instance + offsets.instance_original as u64);
        }
        instance = read_kernel(instance + offsets.instance_next as u64);
    }
    0
}

/// 8 bytes of kernel memory, or 0.
#[inline(always)]
pub fn read_kernel(address: u64) -> u64 {
    let mut value = 0;
    // The kernel leaves zeroes where it cannot read (bpf_probe_read_kernel_common in kernel/trace/bpf_trace.c). Not to ask for
    // the result halves the ways that older verifiers follow.
    // SAFETY: the destination has 8 bytes; the helper checks the address.
    unsafe { bpf_probe_read_kernel((&raw mut value).cast(), 8, address as *const c_void) };
    value
}

/// The rules that few frames have.
#[inline(never)]
fn special_step(memory: &mut Scratch, rule: Rule) -> i64 {
    let cfa;
    memory.by_frame_pointer = 0;
    memory.next_bp = memory.bp;
    let kind = rule.kind;
    if kind == RuleKind::DerefRbp as u8 || kind == RuleKind::DerefRsp as u8 {
        let base = if kind == RuleKind::DerefRbp as u8 { memory.bp } else { memory.sp };
        if !read(memory, base.wrapping_add_signed(rule.rbp_offset as i64)) {
            return stop(memory, WalkStatus::Unreadable);
        }
        cfa = memory.value.wrapping_add_signed(rule.cfa_offset as i64);
    } else if kind == RuleKind::Drap as u8 {
        let bp = memory.bp;
        if !read(memory, bp.wrapping_add_signed(rule.rbp_offset as i64)) {
            return stop(memory, WalkStatus::Unreadable);
        }
        memory.next_bp = memory.value;
        if !read(memory, bp.wrapping_add_signed(rule.cfa_offset as i64)) {
            return stop(memory, WalkStatus::Unreadable);
        }
        cfa = memory.value;
    } else if kind == RuleKind::Plt as u8 {
        let pushed = if (memory.ip & 15) as i32 >= rule.cfa_offset { 8 } else { 0 };
        cfa = memory.sp.wrapping_add(8 + pushed);
    } else if kind == RuleKind::Signal as u8 {
        return signal_step(memory);
    } else if kind == RuleKind::End as u8 {
        return stop(memory, WalkStatus::Complete);
    } else if kind == RuleKind::NoInfo as u8 {
        return stop(memory, WalkStatus::NoInfo);
    } else {
        return stop(memory, WalkStatus::Unsupported);
    }
    to_caller(memory, cfa)
}

/// A signal handler's caller is the kernel: the interrupted registers are in the `ucontext` at rsp + 40
/// (`struct rt_sigframe`, arch/x86/include/asm/sigframe.h; gregs 10, 15 and 16 are rbp, rsp and rip). They may be on
/// another stack, so nothing can be said of their order.
#[inline(always)]
fn signal_step(memory: &mut Scratch) -> i64 {
    const GREGS: u64 = 40;
    let frame = memory.sp.wrapping_add(GREGS);
    if !read(memory, frame.wrapping_add(10 * 8)) {
        return stop(memory, WalkStatus::Unreadable);
    }
    memory.next_bp = memory.value;
    if !read(memory, frame.wrapping_add(16 * 8)) {
        return stop(memory, WalkStatus::Unreadable);
    }
    memory.ip = memory.value;
    if !read(memory, frame.wrapping_add(15 * 8)) {
        return stop(memory, WalkStatus::Unreadable);
    }
    memory.sp = memory.value;
    memory.bp = memory.next_bp;
    memory.is_return_address = 0;
    CONTINUE
}

/// Notes the frame at an address of a mapping.
#[inline(always)]
fn push(memory: &mut Scratch, mapping: &Mapping, elf_address: u64) {
    let frame = memory.by_frame_pointer << 63 | (mapping.module as u64) << 48 | elf_address & 0xffff_ffff_ffff;
    let at = mask::<{ MAX_FRAMES as u64 - 1 }>(memory.sample.frame_count as u64) as usize;
    memory.sample.frame_count += 1;
    memory.sample.frame_pointer_frames += memory.by_frame_pointer as u32;
    memory.sample.stopped_in = mapping.module as u32;
    // SAFETY: the index is below MAX_FRAMES.
    unsafe { (&raw mut memory.frames).cast::<u64>().wrapping_add(at).write(frame) };
}

/// Ends the walk.
#[inline(always)]
fn stop(memory: &mut Scratch, status: WalkStatus) -> i64 {
    memory.sample.status = status as u32;
    memory.sample.stopped_at = memory.ip;
    if status as u32 == WalkStatus::NoMapping as u32 {
        memory.sample.stopped_in = 0;
    }
    STOP
}

/// The first of a process's mappings.
#[inline(always)]
fn mappings(process: *const Process) -> *const Mapping {
    process.wrapping_byte_add(offset_of!(Process, mappings)).cast()
}

/// Finds the mapping that holds `pc` and leaves its index in the scratch slot.
#[inline(always)]
fn find_mapping(memory: &mut Scratch, process: *const Process, pc: u64) -> bool {
    let mappings = mappings(process);
    let at = |index: u64| {
        let index = mask::<{ MAX_MAPPINGS as u64 - 1 }>(index) as usize;
        // SAFETY: the index is below MAX_MAPPINGS, and the kernel keeps the value while the program runs.
        unsafe { &*mappings.wrapping_add(index) }
    };
    // Most callers lie in the same module as their callee.
    let last = at(memory.mapping);
    // SAFETY: as above.
    let count = unsafe { (*process).count } as u64;
    if memory.mapping < count && pc >= last.start && pc < last.end {
        return true;
    }
    if pc >> 47 != 0 {
        return false;
    }
    let mut base = 0;
    let mut size = count;
    // 2^10 = MAX_MAPPINGS.
    for _ in 0..10 {
        let half = size >> 1;
        base += half & ones_if_not_above(at(base + half).start, pc);
        size -= half;
    }
    memory.mapping = base;
    let found = at(base);
    count != 0 && pc >= found.start && pc < found.end
}

/// Looks up the rule for an ELF address: page, row, rule.
#[inline(always)]
fn find_rule(mapping: &Mapping, elf_address: u64) -> Result<Rule, WalkStatus> {
    let entry = mapping.page_table.wrapping_add((elf_address >> 12) as u32 * 2);
    let shard = shard(entry).ok_or(WalkStatus::Corrupt)?;
    let first = word(shard, entry as u64);
    let count = word(shard, entry as u64 + 1) as u64;
    if count == 0 {
        return Err(WalkStatus::NoInfo);
    }
    let shard = if first / SHARD_WORDS == entry / SHARD_WORDS {
        shard
    } else {
        self::shard(first).ok_or(WalkStatus::Corrupt)?
    };
    let key = (elf_address & 0xfff) << 20 | 0xf_ffff;
    let mut base = first as u64;
    let mut size = count;
    // 2^12 = rows of a page at most.
    for _ in 0..12 {
        let half = size >> 1;
        base += half & ones_if_not_above(word(shard, base + half) as u64, key);
        size -= half;
    }
    let rule = Row(word(shard, base)).rule();
    RULES.get(rule).copied().ok_or(WalkStatus::Corrupt)
}

/// The shard of a word address.
#[inline(always)]
fn shard(word_address: u32) -> Option<*const Shard> {
    // The key must lie on the stack: a promoted constant would become a data section of its own.
    let mut zero = 0;
    core::hint::black_box(&mut zero);
    SHARDS.get_value(word_address / SHARD_WORDS, &zero).map(|shard| &raw const *shard)
}

/// The word at a word address of a shard.
#[inline(always)]
fn word(shard: *const Shard, word_address: u64) -> u32 {
    let index = mask::<{ SHARD_WORDS as u64 - 1 }>(word_address) as usize;
    // SAFETY: the index is below SHARD_WORDS, and the kernel keeps the shard while the program runs.
    unsafe { shard.cast::<u32>().wrapping_add(index).read() }
}

/// Reads 8 bytes of the thread's stack into `value`; false when they cannot be read.
#[inline(always)]
fn read(memory: &mut Scratch, address: u64) -> bool {
    let offset = address.wrapping_sub(memory.window_start);
    if offset > (WINDOW_WORDS as u64 - 1) * 8 || offset & 7 != 0 || memory.window_start == 0 {
        return read_window(memory, address) == 0;
    }
    let index = mask::<{ WINDOW_WORDS as u64 - 1 }>(offset >> 3) as usize;
    // SAFETY: the index is below WINDOW_WORDS.
    memory.value = unsafe { (&raw const memory.window).cast::<u64>().wrapping_add(index).read() };
    true
}

/// Moves the window to `address` and reads its first word into `value`; 0 when that worked.
#[inline(never)]
fn read_window(memory: &mut Scratch, address: u64) -> i64 {
    memory.window_start = address;
    // SAFETY: the destination is the whole window; the source is checked by the helper.
    let result = unsafe {
        bpf_probe_read_user((&raw mut memory.window).cast(), (WINDOW_WORDS * 8) as u32, address as *const c_void)
    };
    if result == 0 {
        memory.value = memory.window[0];
        return 0;
    }
    // The window would reach beyond the stack: read the one word.
    memory.window_start = 0;
    // SAFETY: the destination is one word; the source is checked by the helper.
    unsafe { bpf_probe_read_user((&raw mut memory.value).cast(), 8, address as *const c_void) }
}
