//! Atomic operations on map values.
//!
//! `core::sync::atomic` has none for BPF targets (rustc sets `atomic_cas` to false for them), though the instruction set does:
//! Documentation/bpf/standardization/instruction-set.rst, "Atomic operations".

use core::arch::asm;

/// `*counter += value`.
///
/// # Safety
/// `counter` points to 8 aligned bytes of a map value.
#[inline(always)]
pub unsafe fn add(counter: *mut u64, value: u64) {
    // SAFETY: the caller's promise; one instruction.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) value) };
}

/// Stores `value` and returns what was there.
///
/// # Safety
/// `place` points to 8 aligned bytes of a map value.
#[inline(always)]
pub unsafe fn exchange(place: *mut u64, value: u64) -> u64 {
    let mut value = value;
    // SAFETY: the caller's promise; one instruction.
    unsafe { asm!("{1} = xchg_64({0} + 0, {1})", in(reg) place, inout(reg) value) };
    value
}
