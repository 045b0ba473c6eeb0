//! What is known of the registers on one path through a function, when some arguments are given.
//!
//! Constants are followed through moves and arithmetic; whatever depends on memory is unknown.

use iced_x86::{ConditionCode, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

use super::probe_point::writes;

/// Values of the general registers and the flags, where known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Registers {
    values: [Option<u64>; 16],
    flags: Option<Flags>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Flags {
    zero: bool,
    sign: bool,
    carry: bool,
    overflow: bool,
}

impl Registers {
    /// Nothing known but this register.
    pub fn with(register: Register, value: u64) -> Self {
        let mut registers = Self::default();
        registers.set(register, Some(value));
        registers
    }

    fn slot(register: Register) -> Option<usize> {
        let full = register.full_register();
        full.is_gpr64().then(|| full.number())
    }

    /// The value of a register, where known.
    pub fn get(&self, register: Register) -> Option<u64> {
        let value = self.values[Self::slot(register)?]?;
        let high_byte = matches!(register, Register::AH | Register::BH | Register::CH | Register::DH);
        (!high_byte).then_some(value & mask(register.size()))
    }

    /// A write of 4 bytes clears the upper half; one of 1 or 2 keeps the rest, and is taken for unknown.
    fn set(&mut self, register: Register, value: Option<u64>) {
        if let Some(slot) = Self::slot(register) {
            let size = register.size();
            self.values[slot] = value.filter(|_| size >= 4).map(|value| value & mask(size));
        }
    }

    /// Forgets what a call may change (System V ABI, section 3.2.1: all but RBX, RSP, RBP, R12 to R15).
    pub fn forget_over_call(&mut self) {
        use Register::{R8, R9, R10, R11, RAX, RCX, RDI, RDX, RSI};
        for register in [RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11] {
            self.set(register, None);
        }
        self.flags = None;
    }

    /// Whether a conditional branch is taken, where that is known.
    pub fn condition(&self, instruction: &Instruction) -> Option<bool> {
        let Flags { zero, sign, carry, overflow } = self.flags?;
        Some(match instruction.condition_code() {
            ConditionCode::o => overflow,
            ConditionCode::no => !overflow,
            ConditionCode::b => carry,
            ConditionCode::ae => !carry,
            ConditionCode::e => zero,
            ConditionCode::ne => !zero,
            ConditionCode::be => carry || zero,
            ConditionCode::a => !carry && !zero,
            ConditionCode::s => sign,
            ConditionCode::ns => !sign,
            ConditionCode::l => sign != overflow,
            ConditionCode::ge => sign == overflow,
            ConditionCode::le => zero || sign != overflow,
            ConditionCode::g => !zero && sign == overflow,
            _ => return None,
        })
    }

    /// Carries out an instruction that is no branch.
    pub fn step(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) {
        let computed = self.compute(instruction);
        for used in info.info(instruction).used_registers() {
            if writes(used.access()) {
                self.set(used.register().full_register(), None);
            }
        }
        if instruction.rflags_modified() != 0 {
            self.flags = None;
        }
        if let Some((value, flags)) = computed {
            if instruction.op0_kind() == OpKind::Register
                && !matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test)
            {
                self.set(instruction.op0_register(), Some(value));
            }
            if flags.is_some() {
                self.flags = flags;
            }
        }
    }

    /// The result and the flags of an instruction whose operands are known; no flags where it leaves them alone.
    fn compute(&self, instruction: &Instruction) -> Option<(u64, Option<Flags>)> {
        use Mnemonic::{Add, And, Cmp, Lea, Mov, Movzx, Or, Shl, Shr, Sub, Test, Xor};
        let same = instruction.op0_kind() == OpKind::Register
            && instruction.op1_kind() == OpKind::Register
            && instruction.op0_register() == instruction.op1_register();
        match instruction.mnemonic() {
            // Zero whatever the register holds.
            Xor | Sub if same => {
                return Some((0, Some(Flags { zero: true, sign: false, carry: false, overflow: false })));
            }
            Mov | Movzx => return Some((self.operand(instruction, 1)?, None)),
            Lea => return Some((self.effective_address(instruction)?, None)),
            _ => {}
        }
        let size = match instruction.op0_kind() {
            OpKind::Register => instruction.op0_register().size(),
            _ => return None,
        };
        if size < 4 {
            return None;
        }
        let mask = mask(size);
        let a = self.operand(instruction, 0)?;
        let b = self.operand(instruction, 1)? & mask;
        let bit = |value: u64| value >> (size * 8 - 1) & 1 != 0;
        let plain = |value: u64| Flags { zero: value == 0, sign: bit(value), carry: false, overflow: false };
        Some(match instruction.mnemonic() {
            And | Test => (a & b, Some(plain(a & b))),
            Or => (a | b, Some(plain(a | b))),
            Xor => (a ^ b, Some(plain(a ^ b))),
            Add => {
                let value = a.wrapping_add(b) & mask;
                let overflow = bit(a) == bit(b) && bit(a) != bit(value);
                (value, Some(Flags { carry: value < a, overflow, ..plain(value) }))
            }
            Sub | Cmp => {
                let value = a.wrapping_sub(b) & mask;
                let overflow = bit(a) != bit(b) && bit(a) != bit(value);
                (value, Some(Flags { carry: a < b, overflow, ..plain(value) }))
            }
            // The flags of shifts are not followed: `step` has made them unknown.
            Shr => (a.checked_shr(b as u32)?, None),
            Shl => (a.checked_shl(b as u32)? & mask, None),
            _ => return None,
        })
    }

    fn operand(&self, instruction: &Instruction, operand: u32) -> Option<u64> {
        match instruction.op_kind(operand) {
            OpKind::Register => self.get(instruction.op_register(operand)),
            OpKind::Memory => None,
            _ => instruction.try_immediate(operand).ok(),
        }
    }

    fn effective_address(&self, instruction: &Instruction) -> Option<u64> {
        let part = |register| if register == Register::None { Some(0) } else { self.get(register) };
        let base = part(instruction.memory_base())?;
        let index = part(instruction.memory_index())?.wrapping_mul(u64::from(instruction.memory_index_scale()));
        Some(base.wrapping_add(index).wrapping_add(instruction.memory_displacement64()))
    }
}

fn mask(size: usize) -> u64 {
    if size >= 8 { u64::MAX } else { (1 << (size * 8)) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocators::code::{Code, Segment};

    /// Runs straight-line code and tells whether the conditional branch at its end is taken.
    fn taken(register: Register, value: u64, bytes: &[u8]) -> Option<bool> {
        let code = Code::new(vec![Segment { address: 0, file_offset: 0, bytes }]);
        let mut registers = Registers::with(register, value);
        let mut info = InstructionInfoFactory::new();
        let mut address = 0;
        while let Some(instruction) = code.instruction(address) {
            if instruction.is_jcc_short_or_near() {
                return registers.condition(&instruction);
            }
            registers.step(&instruction, &mut info);
            address = instruction.next_ip();
        }
        None
    }

    #[test]
    fn comparison_decides_the_branch() {
        let cmp_16_jbe = [0x48, 0x83, 0xff, 0x10, 0x76, 0];
        assert_eq!(taken(Register::RDI, 16, &cmp_16_jbe), Some(true));
        assert_eq!(taken(Register::RDI, 17, &cmp_16_jbe), Some(false));
        assert_eq!(taken(Register::RSI, 16, &cmp_16_jbe), None);
    }

    #[test]
    fn values_follow_moves_and_arithmetic() {
        // mov %rdi,%rbx; mov %ebx,%eax; add $1,%rax; test %rax,%rax; js
        let bytes = [0x48, 0x89, 0xfb, 0x89, 0xd8, 0x48, 0x83, 0xc0, 1, 0x48, 0x85, 0xc0, 0x78, 0];
        assert_eq!(taken(Register::RDI, u64::MAX, &bytes), Some(false));
        // mov (%rdi),%rdi; test %rdi,%rdi; je
        assert_eq!(taken(Register::RDI, 0, &[0x48, 0x8b, 0x3f, 0x48, 0x85, 0xff, 0x74, 0]), None);
        // A write of the low byte makes the register unknown: mov $0,%dil; test %rdi,%rdi; je
        assert_eq!(taken(Register::RDI, 0, &[0x40, 0xb7, 0, 0x48, 0x85, 0xff, 0x74, 0]), None);
        // xor %eax,%eax; je
        assert_eq!(taken(Register::RDI, 0, &[0x31, 0xc0, 0x74, 0]), Some(true));
    }

    #[test]
    fn a_call_keeps_callee_saved_registers() {
        let mut registers = Registers::with(Register::RBX, 7);
        registers.set(Register::RDI, Some(1));
        registers.forget_over_call();
        assert_eq!((registers.get(Register::RBX), registers.get(Register::RDI)), (Some(7), None));
    }
}
