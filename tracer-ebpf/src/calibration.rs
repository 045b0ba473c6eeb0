//! Programs that no recording uses: parts of the hit path alone, and what the kernel offers in their place. Benchmarks attach
//! them side by side.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_F_USER_STACK, pt_regs},
    btf_maps::StackTrace,
    helpers::generated::bpf_get_stackid,
    macros::btf_map,
};
use tracer_ebpf::abi::settings::Loss;

use crate::{
    maps::{SETTINGS, count_loss},
    private_stack, sampling,
};

/// What [`stackid`] found.
#[btf_map]
pub static STACKS: StackTrace<64> = StackTrace::new();

/// The walk by tables from a function's entry, and nothing else.
#[inline(always)]
pub fn walk(context: *mut c_void) {
    let Some(settings) = SETTINGS.get(0) else { return };
    let Some(scratch) = sampling::claim() else {
        count_loss(Loss::ScratchBusy);
        return;
    };
    // SAFETY: the context of a uprobe program is a pt_regs.
    let registers = unsafe { &*context.cast::<pt_regs>() };
    sampling::walk(scratch, registers, settings, 0);
    sampling::release(scratch);
}

/// The kernel's own walk, which needs frame pointers.
#[inline(always)]
pub fn stackid(context: *mut c_void) {
    private_stack::decline();
    let stacks = (&raw const STACKS).cast_mut().cast::<c_void>();
    // SAFETY: the context of a uprobe program and a stack trace map.
    let id = unsafe { bpf_get_stackid(context, stacks, BPF_F_USER_STACK as u64) };
    if id < 0 {
        count_loss(Loss::ScratchBusy);
    }
}
