//! Branches within a function.

use std::collections::BTreeSet;

use iced_x86::FlowControl;

use super::{Fallback, REACH, Site};
use crate::allocators::code::Code;

/// The largest function that is searched for branches, in bytes.
const MAX_FUNCTION: u64 = 1 << 20;

/// What the whole function says about branches into its begin.
pub struct Body {
    /// Targets of direct branches and calls.
    pub targets: BTreeSet<u64>,
}

impl Body {
    /// Decodes the whole function.
    ///
    /// # Errors
    /// When it cannot be told where all its branches lead.
    pub fn read(code: &Code<'_>, site: &Site<'_>) -> Result<Self, Fallback> {
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

/// Whether the code at a branch target only prepares the function's new begin: Go's `morestack` block, which saves the
/// arguments, has the stack grown and jumps to the entry. A call that goes there passes what follows the branch later.
pub fn restarts(code: &Code<'_>, site: &Site<'_>, target: u64) -> bool {
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
