//! The ring buffer.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::{bpf_ktime_get_ns, bpf_ringbuf_output, bpf_ringbuf_query},
};
use tracer_ebpf::abi::{
    sample::{ProcessChange, ProcessEvent, RecordKind},
    settings::{Loss, Settings},
};

use crate::maps::{EVENTS, count_loss};

/// Writes a record; false when the ring buffer is full. User space looks by itself every now and then and is woken only
/// when much has piled up: a wake-up for each sample would cost more than the sample.
#[inline(always)]
pub fn output(data: *mut c_void, length: u64, settings: &Settings) -> bool {
    let ring = (&raw const EVENTS).cast_mut().cast::<c_void>();
    // SAFETY: a ring buffer map and a valid query.
    let waiting = unsafe { bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA as u64) };
    let flags = if waiting >= settings.wakeup_bytes { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    // SAFETY: the caller gives `length` readable bytes, which the verifier checks.
    unsafe { bpf_ringbuf_output(ring, data, length, flags as u64) == 0 }
}

/// Tells user space at once that a process changed.
#[inline(always)]
pub fn process_changed(change: ProcessChange, process: u32, parent: u32) {
    // SAFETY: helper without arguments.
    let time_ns = unsafe { bpf_ktime_get_ns() };
    let mut event = ProcessEvent { kind: RecordKind::Process as u32, change: change as u32, process, parent, time_ns };
    let ring = (&raw const EVENTS).cast_mut().cast::<c_void>();
    // SAFETY: the event is initialised and as long as said.
    let result = unsafe {
        bpf_ringbuf_output(ring, (&raw mut event).cast(), size_of::<ProcessEvent>() as u64, BPF_RB_FORCE_WAKEUP as u64)
    };
    if result != 0 {
        count_loss(Loss::EventRingFull);
    }
}
