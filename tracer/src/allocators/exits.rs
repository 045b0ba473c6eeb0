//! The `ret` instructions that a function can end at.
//!
//! Where an exception may pass through a function its return address must stay what it is: unwinders know nothing of the
//! address that a return probe puts in its place, and end the program. A breakpoint on each `ret` sees the function return
//! without changing its stack; an exception passes by.

use std::collections::BTreeSet;

use iced_x86::{FlowControl, Mnemonic, OpKind};

use super::symbols::ModuleSymbols;

/// Instructions followed at most.
const BUDGET: usize = 4_000;
/// Exits of one function at most: each is a breakpoint.
const MAX_EXITS: usize = 64;

/// ELF virtual addresses of the `ret` instructions that are reached from `entry` without a call in between: its own, and
/// those of functions that it ends with a jump to. `None` when there are none, or more than can be followed.
///
/// Jumps through pointers are not followed: a call that ends there goes unseen.
pub fn exits(module: &ModuleSymbols<'_>, entry: u64) -> Option<BTreeSet<u64>> {
    let mut exits = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut paths = vec![entry];
    while let Some(mut address) = paths.pop() {
        while seen.insert(address) {
            if seen.len() > BUDGET || exits.len() > MAX_EXITS {
                return None;
            }
            let Some(instruction) = module.code.instruction(address) else { break };
            let through_slot = || {
                let in_slot = instruction.op0_kind() == OpKind::Memory && instruction.is_ip_rel_memory_operand();
                in_slot.then(|| instruction.memory_displacement64())
            };
            let next = match instruction.flow_control() {
                FlowControl::Next => (instruction.mnemonic() != Mnemonic::Hlt).then(|| instruction.next_ip()),
                FlowControl::ConditionalBranch | FlowControl::XbeginXabortXend => {
                    paths.push(instruction.near_branch_target());
                    Some(instruction.next_ip())
                }
                FlowControl::UnconditionalBranch => Some(instruction.near_branch_target()),
                // To another function of the module, by way of the global offset table.
                FlowControl::IndirectBranch => through_slot().and_then(|slot| module.local_slots.get(&slot).copied()),
                // What follows a call that does not return need not be code.
                FlowControl::Call | FlowControl::IndirectCall => {
                    let returns = !never_returns(module, &instruction, through_slot());
                    returns.then(|| instruction.next_ip())
                }
                FlowControl::Return => {
                    exits.insert(address);
                    None
                }
                FlowControl::Exception | FlowControl::Interrupt => None,
            };
            match next {
                Some(next) => address = next,
                None => break,
            }
        }
    }
    (!exits.is_empty()).then_some(exits)
}

/// Whether a call goes to an imported function that does not return, directly or through the procedure linkage table.
fn never_returns(module: &ModuleSymbols<'_>, call: &iced_x86::Instruction, slot: Option<u64>) -> bool {
    let is_such = |slot: u64| module.imports.get(&slot).is_some_and(|name| ModuleSymbols::never_returns(name));
    let of_stub = || {
        let mut address = (call.op0_kind() == OpKind::NearBranch64).then(|| call.near_branch_target())?;
        // endbr64, then the jump.
        for _ in 0..2 {
            let instruction = module.code.instruction(address)?;
            if instruction.flow_control() == FlowControl::IndirectBranch && instruction.is_ip_rel_memory_operand() {
                return Some(instruction.memory_displacement64());
            }
            address = instruction.next_ip();
        }
        None
    };
    slot.or_else(of_stub).is_some_and(is_such)
}

#[cfg(test)]
mod tests;
