//! The stack of the thread, read a window at a time.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_probe_read_user;

use crate::{
    bits::mask,
    maps::{Scratch, WINDOW_WORDS},
};

/// Reads 8 bytes of the thread's stack into `value`; false when they cannot be read.
#[inline(always)]
pub fn read(memory: &mut Scratch, address: u64) -> bool {
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
