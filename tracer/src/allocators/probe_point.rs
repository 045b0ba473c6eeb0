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

use std::collections::BTreeSet;
use std::fmt;

use iced_x86::{
    FlowControl, Formatter, GasFormatter, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register,
};

use super::code::Code;

/// Bytes behind the entry within which a place is looked for.
pub const REACH: u64 = 64;
/// The largest function that is searched for branches, in bytes.
const MAX_FUNCTION: u64 = 1 << 20;
/// The largest displacement that a cookie holds, in bytes.
const MAX_DISPLACEMENT: i64 = 2040;

/// Registers from which a probe can read a size: the first four integer arguments of the System V ABI.
pub const SIZE_REGISTERS: [Register; 4] = [Register::RDI, Register::RSI, Register::RDX, Register::RCX];

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

/// Why the search for an emulated instruction ended before it found one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The symbol has no size, so the function's end is unknown.
    UnknownSize,
    /// The function is too large to be searched.
    TooLarge,
    /// Bytes in the function are no instructions.
    Undecodable,
    /// The function jumps through a pointer at this offset.
    IndirectJump(u32),
    /// A branch leads to this offset.
    BranchTarget(u32),
    /// The instruction at this offset writes a register that the probe reads.
    ArgumentWritten(u32, Register),
    /// The instruction at this offset moves the stack pointer by an unknown distance.
    UnknownStack(u32),
    /// The instruction at this offset writes the frame pointer register, and its old value is not where frame pointers go.
    FramePointer(u32),
    /// At this offset, that of the first emulated instruction, something is on the stack above the return address.
    Displaced(u32),
    /// The straight line ends at this offset.
    EndOfLine(u32),
    /// No emulated instruction within reach.
    OutOfReach,
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSize => f.write_str("the symbol has no size"),
            Self::TooLarge => f.write_str("the function is too large to search"),
            Self::Undecodable => f.write_str("the function holds bytes that are no instructions"),
            Self::IndirectJump(at) => write!(f, "it jumps through a pointer at +{at}"),
            Self::BranchTarget(at) => write!(f, "a branch leads to +{at}"),
            Self::ArgumentWritten(at, register) => {
                write!(f, "{} is written at +{at}", format!("{register:?}").to_ascii_lowercase())
            }
            Self::UnknownStack(at) => write!(f, "the stack pointer is unknown after +{at}"),
            Self::FramePointer(at) => write!(f, "the caller's frame pointer is lost at +{at}"),
            Self::Displaced(at) => write!(f, "the return address is not on top of the stack at +{at}"),
            Self::EndOfLine(at) => write!(f, "no emulated instruction before the straight line ends at +{at}"),
            Self::OutOfReach => write!(f, "no emulated instruction in the first {REACH} bytes"),
        }
    }
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

/// The registers that hold one argument.
struct Copies {
    original: Option<Register>,
    holders: Vec<Register>,
}

impl Copies {
    fn of(original: Option<Register>) -> Self {
        Self { original, holders: original.into_iter().collect() }
    }

    /// Notes a write of `register`; whether the argument is still somewhere.
    fn survives(&mut self, instruction: &Instruction, register: Register) -> bool {
        let copies = instruction.mnemonic() == Mnemonic::Mov
            && instruction.op0_register() == register
            && self.holders.contains(&instruction.op1_register());
        if !copies {
            self.holders.retain(|holder| *holder != register);
        } else if !self.holders.contains(&register) && SIZE_REGISTERS.contains(&register) {
            self.holders.push(register);
        }
        self.original.is_none() || !self.holders.is_empty()
    }

    fn moved_to(&self) -> Option<Register> {
        let original = self.original?;
        if self.holders.contains(&original) { None } else { self.holders.first().copied() }
    }
}

/// Where the caller's frame pointer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FramePointer {
    /// In its register.
    Callers,
    /// There, and right below the return address.
    Saved,
    /// Right below the return address only.
    Own,
}

impl FramePointer {
    /// Where it is behind an instruction before which the return address was `displacement` bytes above the stack pointer;
    /// `None` when it is lost.
    fn after(self, instruction: &Instruction, displacement: i64) -> Option<Self> {
        let writes_register = InstructionInfoFactory::new()
            .info(instruction)
            .used_registers()
            .iter()
            .any(|used| writes(used.access()) && used.register().full_register() == Register::RBP);
        let pushes = instruction.mnemonic() == Mnemonic::Push && displacement == 0;
        // As Go does it: mov %rbp, n(%rsp).
        let stores = instruction.mnemonic() == Mnemonic::Mov
            && instruction.memory_base() == Register::RSP
            && instruction.memory_index() == Register::None
            && instruction.memory_displacement64() as i64 == displacement - 8
            && instruction.op1_register() == Register::RBP;
        match self {
            Self::Callers if writes_register => None,
            Self::Callers if stores || pushes && instruction.op0_register() == Register::RBP => Some(Self::Saved),
            Self::Saved if writes_register => Some(Self::Own),
            _ => Some(self),
        }
    }
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
fn execution(code: &Code<'_>, instruction: &Instruction, kernel: KernelUprobes) -> Execution {
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

/// The displacement behind an instruction; `None` when unknown or more than a cookie holds.
fn after(instruction: &Instruction, displacement: i64) -> Option<i64> {
    let moved = match instruction.mnemonic() {
        Mnemonic::Lea if instruction.op0_register() == Register::RSP => {
            let plain = instruction.memory_base() == Register::RSP && instruction.memory_index() == Register::None;
            -(plain.then(|| instruction.memory_displacement64() as i64)?)
        }
        Mnemonic::Sub if instruction.op0_register() == Register::RSP => immediate(instruction)?,
        Mnemonic::Add if instruction.op0_register() == Register::RSP => immediate(instruction)?.checked_neg()?,
        // push, pop: the decoder knows by how much. Anything else must leave the stack pointer alone.
        _ if instruction.is_stack_instruction() => {
            let increment = instruction.stack_pointer_increment();
            (increment != 0).then(|| -i64::from(increment))?
        }
        _ => {
            let mut info = InstructionInfoFactory::new();
            let written = info
                .info(instruction)
                .used_registers()
                .iter()
                .any(|used| writes(used.access()) && used.register().full_register() == Register::RSP);
            (!written).then_some(0)?
        }
    };
    let displacement = displacement.checked_add(moved)?;
    (displacement % 8 == 0 && (0..=MAX_DISPLACEMENT).contains(&displacement)).then_some(displacement)
}

fn immediate(instruction: &Instruction) -> Option<i64> {
    instruction.try_immediate(1).ok().map(|value| value as i64)
}

/// Whether the access may write.
pub(super) fn writes(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

/// Whether the code at a branch target only prepares the function's new begin: Go's `morestack` block, which saves the
/// arguments, has the stack grown and jumps to the entry. A call that goes there passes what follows the branch later.
fn restarts(code: &Code<'_>, site: &Site<'_>, target: u64) -> bool {
    const BLOCK: usize = 32;
    let inside = |address: u64| address.wrapping_sub(site.entry) < site.length;
    let mut address = target;
    for _ in 0..BLOCK {
        let Some(instruction) = code.instruction(address).filter(|_| inside(address)) else { return false };
        match instruction.flow_control() {
            FlowControl::UnconditionalBranch => return instruction.near_branch_target() == site.entry,
            FlowControl::Next | FlowControl::Call => address = instruction.next_ip(),
            _ => return false,
        }
    }
    false
}

/// What the whole function says about branches into its begin.
struct Body {
    /// Targets of direct branches and calls.
    targets: BTreeSet<u64>,
}

impl Body {
    fn read(code: &Code<'_>, site: &Site<'_>) -> Result<Self, Fallback> {
        if site.length == 0 {
            return Err(Fallback::UnknownSize);
        }
        if site.length > MAX_FUNCTION {
            return Err(Fallback::TooLarge);
        }
        let end = site.entry.checked_add(site.length).ok_or(Fallback::TooLarge)?;
        let near = site.entry + 1..=site.entry + REACH;
        let mut targets = BTreeSet::new();
        let mut address = site.entry;
        while address < end {
            let instruction = code.instruction(address).ok_or(Fallback::Undecodable)?;
            match instruction.flow_control() {
                // Through a slot at a fixed address it goes to another function (a tail call by way of the GOT).
                FlowControl::IndirectBranch if !instruction.is_ip_rel_memory_operand() => {
                    return Err(Fallback::IndirectJump((address - site.entry) as u32));
                }
                FlowControl::ConditionalBranch
                | FlowControl::UnconditionalBranch
                | FlowControl::Call
                | FlowControl::XbeginXabortXend => {
                    let target = instruction.near_branch_target();
                    if near.contains(&target) {
                        targets.insert(target);
                    }
                }
                _ => {}
            }
            address = instruction.next_ip();
        }
        Ok(Self { targets })
    }
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
