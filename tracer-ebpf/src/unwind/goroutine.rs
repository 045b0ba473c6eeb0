//! From the stack of a thread to that of the goroutine which called C.
//!
//! `runtime.asmcgocall` calls C on the thread's own stack, the frame pointer still the goroutine's. On top of its frame it leaves the
//! distance from the end of the goroutine's stack to the return address into its own caller, then the goroutine, whose
//! first words are the bounds of its stack (Go's src/runtime/asm_amd64.s and runtime2.go).

use tracer_ebpf::abi::sample::WalkStatus;

use super::{CONTINUE, stack::read, stop};
use crate::maps::Scratch;

/// Where the two words are: above room for arguments, which newer versions of Go do not leave.
const PLACES: [u64; 2] = [40, 0];

/// Goes to the caller of `asmcgocall`; or nowhere, where no goroutine waits for this frame.
#[inline(never)]
pub fn to_goroutine(memory: &mut Scratch) -> i64 {
    if waits(memory, PLACES[0]) || waits(memory, PLACES[1]) {
        return CONTINUE;
    }
    stop(memory, WalkStatus::NotAbove)
}

/// Whether the frame has the two words there, and they agree with the frame pointer; the caller's registers are set then.
///
/// A goroutine's stack moves when it grows, which happens when C calls Go. The frame pointer then leads to where it was, which may be
/// another goroutine's by now, so it must lie between the caller and the end of the present stack.
#[inline(always)]
fn waits(memory: &mut Scratch, place: u64) -> bool {
    let (sp, bp) = (memory.sp.wrapping_add(place), memory.bp);
    if !read(memory, sp) {
        return false;
    }
    let depth = memory.value;
    if !read(memory, sp.wrapping_add(8)) {
        return false;
    }
    let goroutine = memory.value;
    if !read(memory, goroutine) {
        return false;
    }
    let low = memory.value;
    if !read(memory, goroutine.wrapping_add(8)) {
        return false;
    }
    let high = memory.value;
    let caller = high.wrapping_sub(depth);
    let is_in_use = low <= caller && caller < bp && bp < high && depth & 7 == 0;
    if !is_in_use || !read(memory, caller) {
        return false;
    }
    memory.ip = memory.value;
    memory.sp = caller.wrapping_add(8);
    memory.is_return_address = 1;
    true
}
