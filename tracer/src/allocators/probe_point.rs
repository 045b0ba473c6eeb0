//! Where in a function the breakpoint goes.
//!
//! A uprobe's breakpoint replaces an instruction, which the kernel must still carry out. A few it emulates right in the
//! trap; all others it single-steps in a copy, which costs a second trap: 2 to 3 times as much on bare metal, 9 times in a
//! virtual machine. Functions often begin with one of the others (`endbr64`, `cmp`, `test`, `mov`) and have an emulated
//! one (`push`, a jump) a few bytes on. That place is as good as the entry if every call passes it exactly once, with
//! the arguments still where the caller put them:
//!
//! - from the entry to it the code is a straight line, without branch, call or return;
//! - the arguments that the probe reads are still in their registers, or, where it is one size alone, copied to another
//!   argument register; the stack pointer's distance from the return address is known; and the caller's frame pointer is
//!   in its register or right below the return address;
//! - no branch leads behind the entry and up to it: neither in the function (so it is no loop head) nor elsewhere in the
//!   module (a part that the compiler moved away); a jump through a pointer, which could lead anywhere, rules it out too.
//!
//! Where one of these fails the probe goes to the entry.

mod body;
mod execution;
mod fallback;
mod registers;
mod stack;

use std::collections::BTreeSet;

use iced_x86::{FlowControl, Formatter, GasFormatter, Instruction, InstructionInfoFactory, Register};

pub use self::execution::{Execution, KernelUprobes};
pub(super) use self::registers::writes;
use self::{
    body::{Body, restarts},
    execution::execution,
    fallback::Fallback,
    registers::{Copies, FramePointer},
    stack::after,
};
use super::code::Code;

/// Bytes behind the entry within which a place is looked for.
pub const REACH: u64 = 64;

/// Registers from which a probe can read a size: the first four integer arguments of the System V ABI.
pub const SIZE_REGISTERS: [Register; 4] = [Register::RDI, Register::RSI, Register::RDX, Register::RCX];

/// A place for a breakpoint, and why there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Bytes from the function's entry to the instruction.
    pub offset: u32,
    /// Bytes from the stack pointer to the return address when the breakpoint is hit.
    pub displacement: u16,
    /// Whether rbp is the function's own frame pointer there, and the caller's stands right below the return address.
    pub frame_pointer_saved: bool,
    /// The instruction, in AT&T syntax.
    pub instruction: String,
    /// Register that holds the size argument there, when the function has copied it away from [`Site::size`].
    pub size_moved_to: Option<Register>,
    /// What the kernel does with it.
    pub execution: Execution,
    /// Why no better place was found, where that is so.
    pub fallback: Option<Fallback>,
}

/// A function to place a breakpoint in.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// ELF virtual address of the entry.
    pub entry: u64,
    /// Length in bytes from the symbol table; 0 for unknown.
    pub length: u64,
    /// Register (of 64 bits) with the size argument, when it is one alone and may be read from a copy.
    pub size: Option<Register>,
    /// Other registers that the probe reads.
    pub arguments: &'a [Register],
    /// Whether the return address must be on top of the stack: a return probe replaces what is there.
    pub returns: bool,
    /// Targets of branches from anywhere in the module, at least those in the first [`REACH`] bytes behind the entry.
    pub far_targets: &'a BTreeSet<u64>,
}

/// Why a function can have no breakpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unplaceable {
    /// There is no instruction at the entry.
    NotCode,
    /// The kernel refuses one on the entry, and there is no other place.
    Refused,
}

/// Chooses the place.
///
/// # Errors
/// When there is none.
pub fn place(code: &Code<'_>, site: Site<'_>, kernel: KernelUprobes) -> Result<Placement, Unplaceable> {
    let first = code.instruction(site.entry).ok_or(Unplaceable::NotCode)?;
    let at_entry = |fallback| Placement {
        offset: 0,
        displacement: 0,
        frame_pointer_saved: false,
        instruction: text(&first),
        size_moved_to: None,
        execution: execution(code, &first, kernel),
        fallback,
    };
    if execution(code, &first, kernel) > Execution::Stepped {
        return Ok(at_entry(None));
    }
    match Body::read(code, &site).and_then(|body| walk(code, &site, kernel, &body)) {
        Ok(placement) => Ok(placement),
        Err(_) if is_refused(code, &first) => Err(Unplaceable::Refused),
        Err(fallback) => Ok(at_entry(Some(fallback))),
    }
}

/// Whether the kernel takes no breakpoint there: a segment override or a lock prefix (`is_prefix_bad`).
fn is_refused(code: &Code<'_>, instruction: &Instruction) -> bool {
    let is_prefix = |byte: &&u8| matches!(**byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3);
    let bytes = code.bytes(instruction.ip()).iter().take(instruction.len());
    bytes.take_while(is_prefix).any(|byte| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0xf0))
}

/// Follows the straight line from the entry to the first instruction that is not single-stepped.
fn walk(code: &Code<'_>, site: &Site<'_>, kernel: KernelUprobes, body: &Body) -> Result<Placement, Fallback> {
    let mut info = InstructionInfoFactory::new();
    let mut displacement = 0_i64;
    let mut size = Copies::of(site.size);
    let mut frame_pointer = FramePointer::Callers;
    let mut address = site.entry;
    while address - site.entry <= REACH && address - site.entry < site.length {
        let offset = (address - site.entry) as u32;
        let instruction = code.instruction(address).ok_or(Fallback::Undecodable)?;
        if offset > 0 && (body.targets.contains(&address) || site.far_targets.contains(&address)) {
            return Err(Fallback::BranchTarget(offset));
        }
        let restarts = instruction.flow_control() == FlowControl::ConditionalBranch
            && restarts(code, site, instruction.near_branch_target());
        let execution = execution(code, &instruction, kernel);
        // A call is emulated as well, but older kernels do not keep the shadow stack in step with it.
        let is_call = instruction.flow_control() == FlowControl::Call;
        if execution > Execution::Stepped && !is_call && !restarts && site.returns && displacement != 0 {
            return Err(Fallback::Displaced(offset));
        }
        if execution > Execution::Stepped && !is_call && !restarts {
            return Ok(Placement {
                offset,
                displacement: u16::try_from(displacement).map_err(|_| Fallback::UnknownStack(offset))?,
                frame_pointer_saved: frame_pointer == FramePointer::Own,
                instruction: text(&instruction),
                size_moved_to: size.moved_to(),
                execution,
                fallback: None,
            });
        }
        if instruction.flow_control() != FlowControl::Next && !restarts {
            return Err(Fallback::EndOfLine(offset));
        }
        frame_pointer = frame_pointer.after(&instruction, displacement).ok_or(Fallback::FramePointer(offset))?;
        displacement = after(&instruction, displacement).ok_or(Fallback::UnknownStack(offset))?;
        for used in info.info(&instruction).used_registers().iter().filter(|used| writes(used.access())) {
            let register = used.register().full_register();
            if site.arguments.contains(&register) || !size.survives(&instruction, register) {
                return Err(Fallback::ArgumentWritten(offset, register));
            }
        }
        address = instruction.next_ip();
    }
    Err(Fallback::OutOfReach)
}

fn text(instruction: &Instruction) -> String {
    let mut text = String::new();
    let mut formatter = GasFormatter::new();
    let options = formatter.options_mut();
    options.set_branch_leading_zeros(false);
    options.set_uppercase_hex(false);
    formatter.format(instruction, &mut text);
    text
}

#[cfg(test)]
mod tests;
