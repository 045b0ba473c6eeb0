//! Frames whose CFA is not a register and an offset: realigned stacks, PLT entries, signal handlers, the outermost one.

use tracer_ebpf::abi::{
    sample::WalkStatus,
    unwind::{Rule, RuleKind},
};

use super::{CONTINUE, stack::read, stop, to_caller};
use crate::maps::Scratch;

/// The rules that few frames have.
#[inline(never)]
pub fn special_step(memory: &mut Scratch, rule: Rule) -> i64 {
    let cfa;
    memory.by_frame_pointer = 0;
    memory.next_bp = memory.bp;
    let kind = rule.kind;
    if kind == RuleKind::DerefRbp as u8 || kind == RuleKind::DerefRsp as u8 {
        let base = if kind == RuleKind::DerefRbp as u8 { memory.bp } else { memory.sp };
        if !read(memory, base.wrapping_add_signed(rule.rbp_offset as i64)) {
            return stop(memory, WalkStatus::Unreadable);
        }
        cfa = memory.value.wrapping_add_signed(rule.cfa_offset as i64);
    } else if kind == RuleKind::Drap as u8 {
        let bp = memory.bp;
        if !read(memory, bp.wrapping_add_signed(rule.rbp_offset as i64)) {
            return stop(memory, WalkStatus::Unreadable);
        }
        memory.next_bp = memory.value;
        if !read(memory, bp.wrapping_add_signed(rule.cfa_offset as i64)) {
            return stop(memory, WalkStatus::Unreadable);
        }
        cfa = memory.value;
    } else if kind == RuleKind::Plt as u8 {
        let pushed = if (memory.ip & 15) as i32 >= rule.cfa_offset { 8 } else { 0 };
        cfa = memory.sp.wrapping_add(8 + pushed);
    } else if kind == RuleKind::Signal as u8 {
        return signal_step(memory);
    } else if kind == RuleKind::End as u8 {
        return stop(memory, WalkStatus::Complete);
    } else if kind == RuleKind::NoInfo as u8 {
        return stop(memory, WalkStatus::NoInfo);
    } else {
        return stop(memory, WalkStatus::Unsupported);
    }
    to_caller(memory, cfa)
}

/// A signal handler's caller is the kernel: the interrupted registers are in the `ucontext` at rsp + 40
/// (`struct rt_sigframe`, arch/x86/include/asm/sigframe.h; gregs 10, 15 and 16 are rbp, rsp and rip). They may be on
/// another stack, so nothing can be said of their order.
#[inline(always)]
fn signal_step(memory: &mut Scratch) -> i64 {
    const GREGS: u64 = 40;
    let frame = memory.sp.wrapping_add(GREGS);
    if !read(memory, frame.wrapping_add(10 * 8)) {
        return stop(memory, WalkStatus::Unreadable);
    }
    memory.next_bp = memory.value;
    if !read(memory, frame.wrapping_add(16 * 8)) {
        return stop(memory, WalkStatus::Unreadable);
    }
    memory.ip = memory.value;
    if !read(memory, frame.wrapping_add(15 * 8)) {
        return stop(memory, WalkStatus::Unreadable);
    }
    memory.sp = memory.value;
    memory.bp = memory.next_bp;
    memory.is_return_address = 0;
    CONTINUE
}
