//! The walk: from the registers of a thread to its outermost frame, by unwind tables.
//!
//! All state lies in the scratch slot (map memory). On the BPF stack the verifier would track it precisely, see no two
//! iterations as equal, and give up.

mod goroutine;
mod return_probes;
mod special;
mod stack;
pub mod tables;

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_loop};
use tracer_ebpf::abi::{
    process::{Mapping, MappingKind, Process},
    sample::{MAX_FRAMES, WalkStatus},
    unwind::{RBP_SAME, RBP_SAVED, Rule, RuleKind},
};

use self::{
    goroutine::to_goroutine,
    return_probes::replaced_return_address,
    special::special_step,
    stack::read,
    tables::{find_mapping, find_rule, mapping_at, version_of},
};
use crate::{
    bits::mask,
    maps::{CHANGES, MAX_KERNEL_FRAMES, PROCESSES, Scratch},
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
    let version = unsafe { version_of(process, id) };
    // SAFETY: as above.
    if unsafe { (*process).removals } != removals || version.is_none() {
        memory.sample.status = WalkStatus::Stale as u32;
        return;
    }
    memory.sample.status = WalkStatus::TooDeep as u32;
    let begin = memory.ip;
    let room = MAX_FRAMES as u32 - first;
    let limit = if max_frames > room { room } else { max_frames };
    let mut walk = Walk { scratch, process };
    // SAFETY: the callback has the signature bpf_loop asks for, and its context outlives the call.
    unsafe { bpf_loop(limit, step as *mut c_void, (&raw mut walk).cast(), 0) };
    // SAFETY: as above.
    if unsafe { version_of(process, id) } != version {
        // Some mappings may have been those of another copy.
        memory.sample.frame_count = first;
        memory.sample.frame_pointer_frames = 0;
        memory.sample.stopped_at = begin;
        memory.sample.stopped_in = 0;
        memory.sample.status = WalkStatus::Stale as u32;
    }
}

/// One frame: find its mapping, note it, find its rule, go to its caller.
unsafe extern "C" fn step(_index: u64, context: *mut c_void) -> i64 {
    // SAFETY: bpf_loop passes on the context that `walk` gave.
    let walk = unsafe { &*context.cast::<Walk>() };
    // SAFETY: the claimed slot; nothing else holds a reference while the loop runs.
    let memory = unsafe { &mut *walk.scratch };
    let pc = memory.ip.wrapping_sub(memory.is_return_address);
    // SAFETY: the value of a map, which the kernel keeps while the program runs.
    if !unsafe { find_mapping(memory, walk.process, pc) } {
        return unmapped(memory);
    }
    // SAFETY: as above.
    let mapping = unsafe { mapping_at(walk.process, memory.mapping) };
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
    } else if mapping.kind == MappingKind::FramePointer as u8 || mapping.kind == MappingKind::Go as u8 {
        if memory.bp == 0 {
            // The ABI marks the outermost frame so (System V x86_64, 3.4.1).
            return stop(memory, WalkStatus::Complete);
        }
        by_frame_pointer = 1;
        if mapping.kind == MappingKind::Go as u8 && memory.bp < memory.sp {
            memory.by_frame_pointer = 1;
            return to_goroutine(memory);
        }
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
