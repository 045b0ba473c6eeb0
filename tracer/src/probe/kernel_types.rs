//! Where fields of kernel structures lie, from the kernel's own type information.
//!
//! Format: Documentation/bpf/btf.rst. aya-obj reads BTF too but keeps structure members to itself.

use std::collections::HashMap;

use tracer_ebpf::abi::settings::{BreakOffsets, ParentOffsets, ReturnProbeOffsets};

/// The structures of a BTF blob by name.
pub struct KernelTypes<'a> {
    bytes: &'a [u8],
    strings: &'a [u8],
    /// Where each named structure's record begins.
    structures: HashMap<&'a [u8], usize>,
    /// Where the record of each type begins, by its id.
    records: Vec<u32>,
}

/// Kinds of type (`BTF_KIND_*`, include/uapi/linux/btf.h).
const ARRAY: u32 = 3;
const STRUCTURE: u32 = 4;
const UNION: u32 = 5;
/// Structures without a name that are looked into, one inside the other.
const MAX_NESTED: u32 = 8;

impl<'a> KernelTypes<'a> {
    /// Reads a blob; `None` when it is not BTF of this machine's byte order, or is cut off.
    pub fn parse(blob: &'a [u8]) -> Option<Self> {
        if blob.get(..2)? != 0xeb9f_u16.to_ne_bytes() {
            return None;
        }
        let header = word(blob, 4)? as usize;
        let [types, types_length, strings, strings_length] =
            [8, 12, 16, 20].map(|offset| word(blob, offset).unwrap_or(u32::MAX) as usize);
        let body = blob.get(header..)?;
        let bytes = body.get(types..types.checked_add(types_length)?)?;
        let strings = body.get(strings..strings.checked_add(strings_length)?)?;
        let mut structures = HashMap::new();
        // Type 0 is `void` and has no record.
        let mut records = vec![u32::MAX];
        let mut at = 0;
        while at < bytes.len() {
            records.push(at as u32);
            let info = word(bytes, at + 4)?;
            if info >> 24 & 0x1f == STRUCTURE {
                structures.entry(name(strings, word(bytes, at)?)?).or_insert(at);
            }
            at += 12 + record_tail(info);
        }
        Some(Self { bytes, strings, structures, records })
    }

    /// Byte offset of a member of a structure. It may lie in structures and unions that have no name.
    pub fn offset(&self, structure: &str, member: &str) -> Option<u32> {
        let bits = self.member(*self.structures.get(structure.as_bytes())?, member.as_bytes(), MAX_NESTED)?;
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// The same in bits, in the structure or union whose record begins at `at`.
    fn member(&self, at: usize, member: &[u8], nested: u32) -> Option<u32> {
        let info = word(self.bytes, at + 4)?;
        (0..(info & 0xffff) as usize).find_map(|index| {
            let member_at = at + 12 + index * 12;
            let found = name(self.strings, word(self.bytes, member_at)?)?;
            let bits = word(self.bytes, member_at + 8)?;
            // With the kind flag, the top 8 bits are the size of a bit field.
            let bits = if info >> 31 != 0 { bits & 0xff_ffff } else { bits };
            if found == member {
                return Some(bits);
            }
            let record = *self.records.get(word(self.bytes, member_at + 4)? as usize)? as usize;
            let kind = word(self.bytes, record.checked_add(4)?)? >> 24 & 0x1f;
            if !found.is_empty() || nested == 0 || !matches!(kind, STRUCTURE | UNION) {
                return None;
            }
            bits.checked_add(self.member(record, member, nested - 1)?)
        })
    }

    /// Where this kernel keeps the return addresses that return probes replaced.
    pub fn return_probes(&self) -> Option<ReturnProbeOffsets> {
        Some(ReturnProbeOffsets {
            task_utask: self.offset("task_struct", "utask")?,
            utask_instances: self.offset("uprobe_task", "return_instances")?,
            instance_stack: self.offset("return_instance", "stack")?,
            instance_original: self.offset("return_instance", "orig_ret_vaddr")?,
            instance_next: self.offset("return_instance", "next")?,
        })
    }

    /// Where this kernel keeps the program break.
    pub fn program_break(&self) -> Option<BreakOffsets> {
        Some(BreakOffsets { task_mm: self.offset("task_struct", "mm")?, mm_brk: self.offset("mm_struct", "brk")? })
    }

    /// Where this kernel says who a process's parent is, and how many of its threads live.
    pub fn parents(&self) -> Option<ParentOffsets> {
        Some(ParentOffsets {
            task_real_parent: self.offset("task_struct", "real_parent")?,
            task_tgid: self.offset("task_struct", "tgid")?,
            task_signal: self.offset("task_struct", "signal")?,
            signal_flags: self.offset("signal_struct", "flags")?,
            signal_live: self.offset("signal_struct", "live")?,
        })
    }
}

/// Bytes that follow the 12 common ones.
fn record_tail(info: u32) -> usize {
    let count = (info & 0xffff) as usize;
    match info >> 24 & 0x1f {
        // integer, variable, declaration tag
        1 | 14 | 17 => 4,
        ARRAY => 12,
        // structure, union, 64-bit enumeration
        STRUCTURE | UNION | 19 => 12 * count,
        // enumeration, function prototype
        6 | 13 => 8 * count,
        // data section
        15 => 12 * count,
        _ => 0,
    }
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn name(strings: &[u8], offset: u32) -> Option<&[u8]> {
    let rest = strings.get(offset as usize..)?;
    Some(&rest[..rest.iter().position(|&byte| byte == 0)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_fields_of_this_kernel() {
        let Ok(blob) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            eprintln!("skipped: this kernel has no BTF");
            return;
        };
        let types = KernelTypes::parse(&blob).unwrap();
        // Layouts that the kernel's user-space ABI fixes.
        assert_eq!(types.offset("pt_regs", "di"), Some(14 * 8));
        assert_eq!(types.offset("bpf_insn", "imm"), Some(4));
        assert_eq!(types.offset("bpf_insn", "dst_reg"), Some(1));
        assert_eq!(types.offset("bpf_insn", "src_reg"), None, "not at a whole byte");
        assert_eq!(types.offset("pt_regs", "no such"), None);
        assert_eq!(types.offset("no such", "di"), None);
        // Inside a union and a structure without names.
        assert_eq!(types.offset("siginfo", "_sifields"), Some(16));
        let found = types.program_break().unwrap();
        assert!(found.task_mm > 0 && found.mm_brk > 0, "{found:?}");
    }

    #[test]
    fn broken_blobs_are_refused() {
        assert!(KernelTypes::parse(&[]).is_none());
        assert!(KernelTypes::parse(&[0; 64]).is_none());
        let mut blob = vec![0x9f, 0xeb, 1, 0];
        for word in [24u32, 0, 400, 0, 4] {
            blob.extend(word.to_ne_bytes());
        }
        blob.extend([0; 4]);
        assert!(KernelTypes::parse(&blob).is_none(), "types beyond the end");
    }
}
