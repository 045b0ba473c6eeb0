//! Keeps programs of uprobes on the stack of the thread that they run for.
//!
//! Since Linux 6.13 the kernel gives a program whose frame takes 64 bytes or more a stack of its own on each processor
//! (`bpf_enable_priv_stack` and `check_max_stack_depth` in kernel/bpf/verifier.c), for it takes a second run of it on the same
//! processor to be skipped. That of a uprobe is not skipped: where the kernel preempts itself, another thread can be let in, hit the
//! same probe, and write over that stack (`uprobe_prog_run` in kernel/trace/bpf_trace.c only disables migration). What the first thread
//! finds then crashes the kernel. A program with a tail call gets no such stack.

use core::arch::asm;

/// To stand somewhere in every program that a uprobe runs, best where few hits come by: it counts wherever it stands. The call is never
/// made; the verifier counts it before it finds that out (`check_subprogs`) and removes it afterwards.
#[inline(always)]
pub fn decline() {
    // SAFETY: sets a register that is given up, and jumps over `bpf_tail_call`, function 12 (include/uapi/linux/bpf.h).
    unsafe { asm!("{0} = 0", "if {0} == 0 goto +1", "call 12", out(reg) _) };
}
