//! The ABI between tracer's BPF programs and its user space: plain data, no kernel and no allocator.
//!
//! Both sides compile these files, so a layout that differs between them cannot exist. Sizes are asserted at compile
//! time; every struct is `repr(C)` with explicit padding.
#![no_std]

pub mod abi;
