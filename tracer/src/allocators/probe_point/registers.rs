//! Where arguments and the caller's frame pointer are along a straight line of code.

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register};

use super::SIZE_REGISTERS;

/// The registers that hold one argument.
pub struct Copies {
    original: Option<Register>,
    holders: Vec<Register>,
}

impl Copies {
    /// Of an argument that is still where the caller put it.
    pub fn of(original: Option<Register>) -> Self {
        Self { original, holders: original.into_iter().collect() }
    }

    /// Notes a write of `register`; whether the argument is still somewhere.
    pub fn survives(&mut self, instruction: &Instruction, register: Register) -> bool {
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

    /// Where it is now, if it has left its register.
    pub fn moved_to(&self) -> Option<Register> {
        let original = self.original?;
        if self.holders.contains(&original) { None } else { self.holders.first().copied() }
    }
}

/// Where the caller's frame pointer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramePointer {
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
    pub fn after(self, instruction: &Instruction, displacement: i64) -> Option<Self> {
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

/// Whether the access may write.
pub fn writes(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}
