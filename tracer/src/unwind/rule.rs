//! One row of DWARF call frame information as one [`Rule`].
//!
//! Register numbers: System V ABI, AMD64 supplement, figure 3.36.

use gimli::{CfaRule, Encoding, Operation, Register, RegisterRule, UnwindExpression, UnwindSection, UnwindTableRow};
use tracer_ebpf::abi::unwind::{RBP_SAME, RBP_SAVED, Rule, RuleKind};

use super::elf::Bytes;
use super::evaluate::Storage;

const RBP: Register = Register(6);
const RSP: Register = Register(7);
const RETURN_ADDRESS: Register = Register(16);

/// Bytes between rsp in a signal handler's caller and the `ucontext` registers: `uc_mcontext` stands 40 bytes into the
/// `ucontext` at rsp (`arch/x86/include/uapi/asm/sigcontext.h`), 8 bytes a register.
const fn context_slot(register: i64) -> i64 {
    40 + 8 * register
}
/// `REG_RBP`, `REG_RSP`, `REG_RIP` of `<sys/ucontext.h>`.
const CONTEXT_RBP: i64 = context_slot(10);
const CONTEXT_RSP: i64 = context_slot(15);
const CONTEXT_RIP: i64 = context_slot(16);

/// A rule whose kind says everything.
pub(super) const fn plain(kind: RuleKind) -> Rule {
    Rule { kind: kind as u8, rbp: RBP_SAME, rbp_offset: 0, cfa_offset: 0 }
}

/// Translates the rows of one FDE.
pub(super) struct Translator<'s, S> {
    pub(super) section: &'s S,
    pub(super) encoding: Encoding,
    /// The column that the CIE names as the return address.
    pub(super) return_address: Register,
    /// The CIE's augmentation says that this is a signal frame.
    pub(super) signal: bool,
}

impl<'a, S: UnwindSection<Bytes<'a>>> Translator<'_, S> {
    /// The rule of a row; [`RuleKind::Unsupported`] for everything that the walk does not know.
    pub(super) fn rule(&self, row: &UnwindTableRow<usize, Storage>) -> Rule {
        self.known(row).unwrap_or(plain(RuleKind::Unsupported))
    }

    fn known(&self, row: &UnwindTableRow<usize, Storage>) -> Option<Rule> {
        if self.return_address != RETURN_ADDRESS {
            return None;
        }
        let return_address = row.register(RETURN_ADDRESS);
        if return_address == Some(RegisterRule::Undefined) {
            return Some(plain(RuleKind::End));
        }
        if self.signal {
            return self.signal_frame(row);
        }
        if return_address != Some(RegisterRule::Offset(-8)) {
            return None;
        }
        // The caller's rsp is the CFA unless a row says otherwise, as the row of a context switch does.
        if !matches!(row.register(RSP), None | Some(RegisterRule::ValOffset(0))) {
            return None;
        }
        let rbp = Saved::from(row.register(RBP), |expression| self.based(expression))?;
        match row.cfa() {
            CfaRule::RegisterAndOffset { register: RSP, offset } => direct(RuleKind::Rsp, *offset, rbp),
            CfaRule::RegisterAndOffset { register: RBP, offset } => direct(RuleKind::Rbp, *offset, rbp),
            CfaRule::RegisterAndOffset { .. } => None,
            CfaRule::Expression(expression) => self.by_expression(expression, rbp),
        }
    }

    /// The return from a signal handler, as glibc and the kernel's vdso describe it: all registers come from the
    /// `ucontext` at rsp.
    fn signal_frame(&self, row: &UnwindTableRow<usize, Storage>) -> Option<Rule> {
        let CfaRule::Expression(cfa) = row.cfa() else { return None };
        let slot = |register| match row.register(register) {
            Some(RegisterRule::Expression(expression)) => self.based(&expression),
            _ => None,
        };
        let known = self.dereferenced(cfa)? == (RSP, CONTEXT_RSP, 0)
            && slot(RETURN_ADDRESS)? == (RSP, CONTEXT_RIP)
            && slot(RBP)? == (RSP, CONTEXT_RBP);
        known.then_some(plain(RuleKind::Signal))
    }

    fn by_expression(&self, cfa: &UnwindExpression<usize>, rbp: Saved) -> Option<Rule> {
        if let (Some(threshold), Saved::Same) = (self.plt_threshold(cfa), rbp) {
            return Some(Rule { cfa_offset: threshold, ..plain(RuleKind::Plt) });
        }
        let (register, slot, added) = self.dereferenced(cfa)?;
        match (register, rbp) {
            (RBP, Saved::Same) => deref(RuleKind::DerefRbp, slot, added),
            (RSP, Saved::Same) => deref(RuleKind::DerefRsp, slot, added),
            (RBP, Saved::AtRbp(saved)) if added == 0 => deref(RuleKind::Drap, saved, slot),
            _ => None,
        }
    }

    /// `register + offset`.
    fn based(&self, expression: &UnwindExpression<usize>) -> Option<(Register, i64)> {
        let mut operations = expression.get(self.section).ok()?.operations(self.encoding);
        let Operation::RegisterOffset { register, offset, .. } = operations.next().ok()?? else { return None };
        operations.next().ok()?.is_none().then_some((register, offset))
    }

    /// `*(register + offset) + added`.
    fn dereferenced(&self, expression: &UnwindExpression<usize>) -> Option<(Register, i64, i64)> {
        let mut operations = expression.get(self.section).ok()?.operations(self.encoding);
        let Operation::RegisterOffset { register, offset, .. } = operations.next().ok()?? else { return None };
        let Operation::Deref { size: 8, space: false, .. } = operations.next().ok()?? else { return None };
        let added = match operations.next().ok()? {
            None => return Some((register, offset, 0)),
            Some(Operation::PlusConstant { value }) => i64::try_from(value).ok()?,
            Some(_) => return None,
        };
        operations.next().ok()?.is_none().then_some((register, offset, added))
    }

    /// The expression that linkers write for a procedure linkage table: `rsp + 8 + ((rip & 15) >= threshold) * 8`, that is,
    /// whether the stub has pushed its number yet (binutils `bfd/elfxx-x86.c`).
    fn plt_threshold(&self, expression: &UnwindExpression<usize>) -> Option<i32> {
        let bytes = expression.get(self.section).ok()?.0.slice();
        // breg7 8, breg16 0, lit15, and, lit<threshold>, ge, lit3, shl, plus
        match bytes {
            [0x77, 8, 0x80, 0, 0x3f, 0x1a, literal @ 0x30..=0x3f, 0x2a, 0x33, 0x24, 0x22] => {
                Some(i32::from(literal - 0x30))
            }
            _ => None,
        }
    }
}

/// Where the caller's rbp is.
#[derive(Clone, Copy)]
enum Saved {
    Same,
    AtCfa(i16),
    AtRbp(i64),
}

impl Saved {
    fn from(
        rule: Option<RegisterRule<usize>>,
        based: impl Fn(&UnwindExpression<usize>) -> Option<(Register, i64)>,
    ) -> Option<Self> {
        match rule {
            None | Some(RegisterRule::SameValue) => Some(Self::Same),
            Some(RegisterRule::Offset(offset)) => Some(Self::AtCfa(i16::try_from(offset).ok()?)),
            Some(RegisterRule::Expression(expression)) => match based(&expression)? {
                (RBP, offset) => Some(Self::AtRbp(offset)),
                _ => None,
            },
            Some(_) => None,
        }
    }
}

fn direct(kind: RuleKind, cfa_offset: i64, rbp: Saved) -> Option<Rule> {
    let cfa_offset = i32::try_from(cfa_offset).ok()?;
    let (rbp, rbp_offset) = match rbp {
        Saved::Same => (RBP_SAME, RETURN_ADDRESS_SLOT),
        Saved::AtCfa(offset) => (RBP_SAVED, offset),
        Saved::AtRbp(_) => return None,
    };
    Some(Rule { kind: kind as u8, rbp, rbp_offset, cfa_offset })
}

/// The walk reads the slot before it knows whether it needs it, so an unused slot points at one that it reads anyway.
const RETURN_ADDRESS_SLOT: i16 = -8;

fn deref(kind: RuleKind, rbp_offset: i64, cfa_offset: i64) -> Option<Rule> {
    let (rbp_offset, cfa_offset) = (i16::try_from(rbp_offset).ok()?, i32::try_from(cfa_offset).ok()?);
    Some(Rule { kind: kind as u8, rbp: RBP_SAME, rbp_offset, cfa_offset })
}
