//! What the kernel does with the instruction under a breakpoint.

use iced_x86::Instruction;

use crate::allocators::code::Code;

/// What the kernel at hand does beyond what all supported ones do (emulate `push`, jumps, `nop`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelUprobes {
    /// Emulates no-operations of several bytes (`x86_nops` in `branch_setup_xol_ops`, Linux 6.16).
    pub emulates_long_nops: bool,
    /// Rewrites a 5-byte no-operation under a probe to a call, which then costs a system call instead of a trap
    /// (`can_optimize`, Linux 6.18). Implies the other.
    pub rewrites_nop5: bool,
}

/// What the kernel does with the instruction under the breakpoint, best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Execution {
    /// Single-steps a copy: a second trap.
    Stepped,
    /// Emulates it in the trap.
    Emulated,
    /// Replaces trap and instruction by a call.
    Rewritten,
}

/// No-operations of 2 to 8 bytes, as compilers and assemblers write them (arch/x86/include/asm/nops.h).
const LONG_NOPS: [&[u8]; 7] = [
    &[0x66, 0x90],
    &[0x0f, 0x1f, 0x00],
    &[0x0f, 0x1f, 0x40, 0],
    &[0x0f, 0x1f, 0x44, 0, 0],
    &[0x66, 0x0f, 0x1f, 0x44, 0, 0],
    &[0x0f, 0x1f, 0x80, 0, 0, 0, 0],
    &[0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
];

/// What the kernel does with an instruction: `branch_setup_xol_ops`, `push_setup_xol_ops` and `can_optimize` in
/// arch/x86/kernel/uprobes.c. Everything else is `default_xol_ops`, a single step.
pub fn execution(code: &Code<'_>, instruction: &Instruction, kernel: KernelUprobes) -> Execution {
    const PAGE: u64 = 4096;
    let bytes = code.bytes(instruction.ip());
    let Some(bytes) = bytes.get(..instruction.len()) else { return Execution::Stepped };
    match *bytes {
        // push of a 64-bit register, without prefix but REX.B.
        [0x50..=0x57] | [0x41, 0x50..=0x57] => Execution::Emulated,
        // Conditional and unconditional jumps, call, without prefix.
        [0x70..=0x7f | 0xeb, _] | [0xe8 | 0xe9, _, _, _, _] | [0x0f, 0x80..=0x8f, _, _, _, _] => Execution::Emulated,
        [0x90] => Execution::Emulated,
        [0x0f, 0x1f, 0x44, 0, 0] if kernel.rewrites_nop5 && instruction.ip() % PAGE <= PAGE - 5 => Execution::Rewritten,
        _ if (kernel.emulates_long_nops || kernel.rewrites_nop5) && LONG_NOPS.contains(&bytes) => Execution::Emulated,
        _ => Execution::Stepped,
    }
}
