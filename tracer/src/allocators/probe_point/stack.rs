//! How far the stack pointer is from the return address along a straight line of code.

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, Register};

use super::registers::writes;

/// The largest displacement that a cookie holds, in bytes.
const MAX_DISPLACEMENT: i64 = 2040;

/// The displacement behind an instruction; `None` when unknown or more than a cookie holds.
pub fn after(instruction: &Instruction, displacement: i64) -> Option<i64> {
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
