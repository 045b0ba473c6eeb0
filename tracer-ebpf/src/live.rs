//! Blocks that are followed: the return of a sampled call tells a block's address, and a release of that address ends it.
//!
//! Releases are as frequent as allocations, and nearly all are of blocks that were not sampled: those end at a hash lookup
//! that finds nothing.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_EXIST, BPF_NOEXIST, pt_regs},
    helpers::{
        bpf_get_attach_cookie, bpf_get_current_pid_tgid, bpf_probe_read_user,
        generated::{bpf_get_func_ip, bpf_ktime_get_ns},
    },
};
use tracer_ebpf::abi::{
    allocation::Cookie,
    live::{AT_EXITS, Block, BlockKey, Call, CallKey, Release, ReleaseKind},
    sample::RecordKind,
    settings::{Loss, Settings},
    tally::Tally,
};

use crate::{
    allocation::{self, Arguments, Entry},
    events,
    maps::{CALLS, LIVE, SETTINGS, add_to, count_loss},
    private_stack,
};

const WORD: u64 = 8;

/// Whether a session program was called for a return. At an entry the instruction pointer is that of the probe
/// (`bpf_uprobe_multi_entry_ip` in kernel/trace/bpf_trace.c).
#[inline(always)]
pub fn is_return(context: *mut c_void) -> bool {
    // SAFETY: the context of a uprobe program is a pt_regs.
    let registers = unsafe { &*context.cast::<pt_regs>() };
    // SAFETY: the context of a uprobe program.
    registers.rip != unsafe { bpf_get_func_ip(context) }
}

/// An allocation function is entered; whether its end matters. `others_too`: the probe that sees ends is called for other
/// calls as well.
#[inline(always)]
pub fn entered(context: *mut c_void, others_too: bool) -> bool {
    let Some(entry) = Entry::of(context) else { return false };
    let Entry { registers, cookie, arguments, .. } = &entry;
    let key = CallKey {
        frame: registers.rsp.wrapping_add(cookie.displacement()),
        thread: bpf_get_current_pid_tgid() as u32,
        function: function(*cookie),
    };
    let mut call = Call {
        time_ns: 0,
        size: entry.size(),
        stored_at: arguments.stored_at(*cookie),
        old_pointer: arguments.given_back(*cookie),
        old: Block::default(),
    };
    // Before the walk, which has many outcomes: the verifier follows whatever comes behind once for each.
    if call.old_pointer != 0 {
        take(&mut call);
    }
    call.time_ns = allocation::hit(&entry, call.size);
    if call.time_ns == 0 && call.old.time_ns == 0 {
        // A call that was left by an exception or longjmp must not be taken for this one.
        if others_too {
            let _ = CALLS.remove(key);
        }
        return false;
    }
    if CALLS.insert(key, call, BPF_ANY as u64).is_ok() {
        return true;
    }
    count_loss(Loss::CallsFull);
    put_back(&call);
    false
}

/// An allocation function has returned: the return address is off the stack.
#[inline(always)]
pub fn returned(context: *mut c_void) {
    add_to(Tally::Followed, 1);
    // SAFETY: the context of a uprobe program.
    let cookie = Cookie(unsafe { bpf_get_attach_cookie(context) });
    // SAFETY: the context of a uprobe program is a pt_regs.
    let registers = unsafe { &*context.cast::<pt_regs>() };
    ended(registers, registers.rsp.wrapping_sub(WORD), function(cookie));
}

/// An allocation function is about to return: the return address is on top of the stack.
#[inline(always)]
pub fn exits(context: *mut c_void) {
    add_to(Tally::Followed, 1);
    // SAFETY: the context of a uprobe program is a pt_regs.
    let registers = unsafe { &*context.cast::<pt_regs>() };
    ended(registers, registers.rsp, AT_EXITS);
}

/// A function that releases is entered.
#[inline(always)]
pub fn released(context: *mut c_void) {
    add_to(Tally::Followed, 1);
    let Some(settings) = SETTINGS.get(0) else { return };
    if settings.enabled == 0 {
        return;
    }
    // SAFETY: the context of a uprobe program.
    let cookie = Cookie(unsafe { bpf_get_attach_cookie(context) });
    // SAFETY: the context of a uprobe program is a pt_regs.
    let registers = unsafe { &*context.cast::<pt_regs>() };
    let pointer = Arguments::of(registers).given_back(cookie);
    let key = key(pointer);
    // A copy: user space may take the block out at any moment, and its place may be given to another.
    // SAFETY: only one thread releases a block.
    let Some(&block) = (unsafe { LIVE.get(key) }) else { return };
    let mut block = block;
    if block.released_ns == 0 {
        (block.released_ns, block.released_by) = (now(), bpf_get_current_pid_tgid() as u32);
    }
    if tell(&block, ReleaseKind::Released, settings) {
        let _ = LIVE.remove(key);
    } else {
        let _ = LIVE.insert(key, block, BPF_EXIST as u64);
    }
}

#[inline(always)]
fn function(cookie: Cookie) -> u32 {
    if cookie.has_exits() { AT_EXITS } else { cookie.slot() }
}

#[inline(always)]
fn key(pointer: u64) -> BlockKey {
    BlockKey { pointer, process: (bpf_get_current_pid_tgid() >> 32) as u32, padding: 0 }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// Takes the block that a call gives back out of those in use: before the callee can hand the address on to somebody else. It
/// is put back if the call fails.
#[inline(always)]
fn take(call: &mut Call) {
    let key = key(call.old_pointer);
    // SAFETY: only one thread gives a block back.
    if let Some(&block) = unsafe { LIVE.get(key) } {
        call.old = block;
        let _ = LIVE.remove(key);
    }
}

/// The call has not given its block back after all.
#[inline(always)]
fn put_back(call: &Call) {
    if call.old.time_ns != 0 {
        let _ = LIVE.insert(key(call.old_pointer), call.old, BPF_NOEXIST as u64);
    }
}

/// A call ends whose return address stood at `frame`.
#[inline(always)]
fn ended(registers: &pt_regs, frame: u64, function: u32) {
    let thread = bpf_get_current_pid_tgid() as u32;
    let key = CallKey { frame, thread, function };
    // SAFETY: only this thread changes its entries.
    let Some(call) = (unsafe { CALLS.get(key) }) else { return };
    done(registers, call, thread);
    // Not before: what is removed may be given to a thread that preempts this one.
    let _ = CALLS.remove(key);
}

/// What a call has done.
#[inline(always)]
fn done(registers: &pt_regs, call: &Call, thread: u32) {
    let Some(settings) = SETTINGS.get(0) else { return };
    let pointer = new_block(registers, call);
    if pointer == 0 && call.size != 0 {
        put_back(call);
        return;
    }
    if call.old.time_ns != 0 {
        let mut old = call.old;
        if old.released_ns == 0 {
            (old.released_ns, old.released_by) = (now(), thread);
        }
        if !tell(&old, ReleaseKind::Released, settings) {
            count_loss(Loss::ReleaseRingFull);
        }
    }
    if call.time_ns != 0 && pointer != 0 {
        follow(pointer, call.time_ns, thread, settings);
    }
}

/// The address of the block that the call has handed out; 0 when it has failed.
#[inline(always)]
fn new_block(registers: &pt_regs, call: &Call) -> u64 {
    if call.stored_at == 0 {
        return registers.rax;
    }
    // The function returns an `int`, an error number.
    if registers.rax as u32 != 0 {
        return 0;
    }
    // SAFETY: the helper reads the target's memory, wherever the address leads.
    unsafe { bpf_probe_read_user(call.stored_at as *const u64) }.unwrap_or(0)
}

/// A sampled block is in use from here on.
#[inline(always)]
fn follow(pointer: u64, time_ns: u64, thread: u32, settings: &Settings) {
    let key = key(pointer);
    // SAFETY: nobody but this thread knows the address yet.
    if let Some(&before) = unsafe { LIVE.get(key) } {
        let mut before = before;
        let how = if before.released_ns == 0 { ReleaseKind::HandedOutAgain } else { ReleaseKind::Released };
        if before.released_ns == 0 {
            before.released_ns = now();
        }
        if !tell(&before, how, settings) {
            count_loss(Loss::ReleaseRingFull);
        }
    }
    let block = Block { time_ns, released_ns: 0, thread, released_by: 0 };
    if LIVE.insert(key, block, BPF_ANY as u64).is_err() {
        count_loss(Loss::LiveFull);
    }
}

/// Writes the record of a block's end; false when the ring buffer is full.
#[inline(always)]
fn tell(block: &Block, how: ReleaseKind, settings: &Settings) -> bool {
    private_stack::decline();
    let mut record = Release {
        kind: RecordKind::Release as u32,
        how: how as u32,
        allocated_ns: block.time_ns,
        time_ns: block.released_ns,
        allocated_by: block.thread,
        thread: block.released_by,
    };
    events::output((&raw mut record).cast(), size_of::<Release>() as u64, settings)
}
