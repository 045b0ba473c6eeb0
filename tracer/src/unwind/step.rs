//! One step of the walk in user space: the meaning of every rule, to check tables and the walk in the kernel against.

use tracer_ebpf::abi::unwind::{RBP_SAVED, Rule, RuleKind};

/// The registers that the walk carries from frame to frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// Instruction pointer.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Frame pointer, or whatever else the function keeps in it.
    pub rbp: u64,
}

/// Where a step leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the caller, whose rip is a return address: look up the byte before it.
    Caller(Registers),
    /// To the frame that a signal interrupted: look up rip itself.
    Interrupted(Registers),
    /// This was the outermost frame.
    End,
    /// Nowhere: [`RuleKind::NoInfo`], [`RuleKind::Unsupported`], or not a rule.
    Unknown,
    /// Nowhere: `read` gave nothing.
    Unreadable,
}

/// Takes one step from a frame. `read` gives the 8 bytes at a process address.
pub fn step(rule: Rule, frame: Registers, read: impl Fn(u64) -> Option<u64>) -> Step {
    known(rule, frame, read).unwrap_or(Step::Unreadable)
}

fn known(rule: Rule, frame: Registers, read: impl Fn(u64) -> Option<u64>) -> Option<Step> {
    let offset = i64::from(rule.cfa_offset);
    let slot = i64::from(rule.rbp_offset);
    let (cfa, rbp) = match rule.kind {
        kind if kind == RuleKind::Rsp as u8 || kind == RuleKind::Rbp as u8 => {
            let base = if kind == RuleKind::Rsp as u8 { frame.rsp } else { frame.rbp };
            let cfa = base.wrapping_add_signed(offset);
            let saved = rule.rbp == RBP_SAVED;
            (cfa, if saved { read(cfa.wrapping_add_signed(slot))? } else { frame.rbp })
        }
        kind if kind == RuleKind::DerefRbp as u8 => {
            (read(frame.rbp.wrapping_add_signed(slot))?.wrapping_add_signed(offset), frame.rbp)
        }
        kind if kind == RuleKind::DerefRsp as u8 => {
            (read(frame.rsp.wrapping_add_signed(slot))?.wrapping_add_signed(offset), frame.rbp)
        }
        kind if kind == RuleKind::Plt as u8 => {
            let pushed = (frame.rip & 15) as i64 >= offset;
            (frame.rsp.wrapping_add(if pushed { 16 } else { 8 }), frame.rbp)
        }
        kind if kind == RuleKind::Drap as u8 => {
            (read(frame.rbp.wrapping_add_signed(offset))?, read(frame.rbp.wrapping_add_signed(slot))?)
        }
        kind if kind == RuleKind::Signal as u8 => {
            let saved = |offset: u64| read(frame.rsp.wrapping_add(offset));
            return Some(Step::Interrupted(Registers { rip: saved(168)?, rsp: saved(160)?, rbp: saved(120)? }));
        }
        kind if kind == RuleKind::End as u8 => return Some(Step::End),
        _ => return Some(Step::Unknown),
    };
    Some(Step::Caller(Registers { rip: read(cfa.wrapping_sub(8))?, rsp: cfa, rbp }))
}
