//! Memory of the kernel.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

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
