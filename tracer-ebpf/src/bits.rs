//! Arithmetic that must reach the verifier as written.
//!
//! LLVM drops or moves a mask whose effect it can prove otherwise, and turns a branch-free selection back into a branch.
//! The verifier then sees an unbounded index, or twice the paths at every step of a search. Inline assembly is opaque to
//! LLVM, and each block emits at least one instruction (an empty one would give two line records for one instruction, which
//! the kernel refuses).

use core::arch::asm;

/// `value & MASK`, at this very place. `MASK` is a signed 32-bit immediate of the instruction.
#[inline(always)]
pub fn mask<const MASK: u64>(value: u64) -> u64 {
    let mut value = value;
    // SAFETY: one arithmetic instruction on one register.
    unsafe { asm!("{0} &= {1}", inout(reg) value, const MASK as i32) };
    value
}

/// All ones where `a <= b`, else 0, without a branch. Both must be below 2^63.
#[inline(always)]
pub fn ones_if_not_above(a: u64, b: u64) -> u64 {
    let mut difference = a.wrapping_sub(b).wrapping_sub(1);
    // SAFETY: one arithmetic instruction on one register: copies the sign bit everywhere.
    unsafe { asm!("{0} s>>= 63", inout(reg) difference) };
    difference
}

/// All ones where `value` is not zero, without a branch.
#[inline(always)]
pub fn ones_if_not_zero(value: u64) -> u64 {
    let mut negative = value.wrapping_neg() | value;
    // SAFETY: one arithmetic instruction on one register: copies the sign bit everywhere.
    unsafe { asm!("{0} s>>= 63", inout(reg) negative) };
    negative
}
