//! What happens on the hits that are chosen: draw the next, take the stack, hand it over.

use aya_ebpf::{
    bindings::pt_regs,
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_prandom_u32, bpf_ktime_get_ns},
};
use tracer_ebpf::abi::{
    allocation::Cookie,
    exponential::exponential,
    sample::{MAX_FRAMES, RecordKind, Sample},
    settings::{Loss, Settings},
};

use crate::{
    atomic, bits, events,
    maps::{SCRATCH, SCRATCH_SLOTS, Scratch, count_loss},
    private_stack, unwind,
};

/// Bytes to the next sampled one.
#[inline(always)]
pub fn draw(interval: u64) -> u64 {
    if interval == 0 {
        return 0;
    }
    exponential((random() as u64) << 32 | random() as u64, interval)
}

#[inline(always)]
fn random() -> u32 {
    // SAFETY: helper without arguments.
    unsafe { bpf_get_prandom_u32() }
}

/// Records the stack of an allocation that was chosen; the time of the record where the ring buffer took it, else 0.
#[inline(always)]
pub fn allocation(registers: &pt_regs, settings: &Settings, cookie: Cookie, size: u64) -> u64 {
    let Some(scratch) = claim() else {
        count_loss(Loss::ScratchBusy);
        return 0;
    };
    // SAFETY: the claimed slot is this program's alone until `release`.
    let memory = unsafe { &mut *scratch };
    memory.sample.function = cookie.slot();
    memory.sample.size = size;
    memory.sample.interval = settings.interval;
    // A displacement is a multiple of 8: its lowest bit says that the frame pointer was saved before the probe.
    let entry = cookie.displacement() | cookie.has_saved_frame_pointer() as u64;
    walk(scratch, registers, settings, entry);
    let time_ns = submit(scratch, settings);
    release(scratch);
    time_ns
}

/// Walks from the registers at a probe, which knows how far the return address is from the stack pointer.
#[inline(always)]
pub fn walk(scratch: *mut Scratch, registers: &pt_regs, settings: &Settings, displacement: u64) {
    // SAFETY: the claimed slot.
    let memory = unsafe { &mut *scratch };
    memory.ip = registers.rip;
    memory.sp = registers.rsp;
    memory.bp = registers.rbp;
    memory.sample.frame_count = 0;
    unwind::walk(scratch, settings.max_frames, Some(displacement));
}

/// Completes the header and writes the record.
#[inline(always)]
pub fn submit(scratch: *mut Scratch, settings: &Settings) -> u64 {
    // SAFETY: the claimed slot.
    let memory = unsafe { &mut *scratch };
    // SAFETY: helper without arguments.
    let time_ns = unsafe { bpf_ktime_get_ns() };
    memory.sample.time_ns = time_ns;
    let ids = bpf_get_current_pid_tgid();
    memory.sample.kind = RecordKind::Sample as u32;
    memory.sample.process = (ids >> 32) as u32;
    memory.sample.thread = ids as u32;
    memory.sample.thread_name = bpf_get_current_comm().unwrap_or([0; 16]);
    let frames = bits::mask::<{ 2 * MAX_FRAMES as u64 - 1 }>(memory.sample.frame_count as u64);
    let frames = if frames > MAX_FRAMES as u64 { MAX_FRAMES as u64 } else { frames };
    let length = size_of::<Sample>() as u64 + frames * 8;
    if events::output(scratch.cast(), length, settings) {
        time_ns
    } else {
        count_loss(Loss::RingFull);
        0
    }
}

/// Gives a scratch slot back.
#[inline(always)]
pub fn release(scratch: *mut Scratch) {
    // SAFETY: the claimed slot.
    let memory = unsafe { &mut *scratch };
    // SAFETY: aligned, inside the value.
    unsafe { (&raw mut memory.busy).write_volatile(0) };
}

/// A free scratch slot of this CPU.
#[inline(always)]
pub fn claim() -> Option<*mut Scratch> {
    private_stack::decline();
    let mut slot = 0;
    while slot < SCRATCH_SLOTS {
        let scratch = SCRATCH.get_ptr_mut(slot)?;
        // SAFETY: the value lives as long as the program.
        let memory = unsafe { &mut *scratch };
        // SAFETY: aligned, inside the value.
        if unsafe { atomic::exchange(&raw mut memory.busy, 1) } == 0 {
            return Some(scratch);
        }
        slot += 1;
    }
    None
}
