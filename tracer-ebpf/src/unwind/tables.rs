//! Which mapping an address lies in, and what rule its table has for it. Searches are branch-free, with a fixed number of
//! steps: the verifier follows one path.

use core::mem::offset_of;

use tracer_ebpf::abi::{
    process::{MAX_MAPPINGS, Mapping, Process},
    sample::WalkStatus,
    unwind::{Row, Rule, SHARD_WORDS},
};

use crate::{
    bits::{mask, ones_if_not_above},
    maps::{RULES, SHARDS, Scratch, Shard},
};

/// The number of the copy that stands there; `None` where it is not of process `id`, or while the kernel writes another.
///
/// # Safety
/// As for [`mapping_at`].
#[inline(always)]
pub unsafe fn version_of(process: *const Process, id: u32) -> Option<u64> {
    // The kernel may write them meanwhile: each is read anew.
    // SAFETY: a field of the value.
    let first = unsafe { process.wrapping_byte_add(offset_of!(Process, version)).cast::<u64>().read_volatile() };
    // SAFETY: as above.
    let last = unsafe { process.wrapping_byte_add(offset_of!(Process, version_again)).cast::<u64>().read_volatile() };
    if first == last && first as u32 == id { Some(first) } else { None }
}

/// The mapping at an index.
///
/// # Safety
/// `process` is a value of [`crate::maps::PROCESSES`], which the kernel keeps while the program runs.
#[inline(always)]
pub unsafe fn mapping_at<'a>(process: *const Process, index: u64) -> &'a Mapping {
    let mappings: *const Mapping = process.wrapping_byte_add(offset_of!(Process, mappings)).cast();
    let index = mask::<{ MAX_MAPPINGS as u64 - 1 }>(index) as usize;
    // SAFETY: the index is below MAX_MAPPINGS; the rest is the caller's promise.
    unsafe { &*mappings.wrapping_add(index) }
}

/// Finds the mapping that holds `pc` and leaves its index in the scratch slot.
///
/// # Safety
/// As for [`mapping_at`].
#[inline(always)]
pub unsafe fn find_mapping(memory: &mut Scratch, process: *const Process, pc: u64) -> bool {
    // SAFETY: as the caller says.
    let at = |index| unsafe { mapping_at(process, index) };
    // Most callers lie in the same module as their callee.
    let last = at(memory.mapping);
    // SAFETY: likewise.
    let count = unsafe { (*process).count } as u64;
    if memory.mapping < count && pc >= last.start && pc < last.end {
        return true;
    }
    if pc >> 47 != 0 {
        return false;
    }
    let mut base = 0;
    let mut size = count;
    // 2^10 = MAX_MAPPINGS.
    for _ in 0..10 {
        let half = size >> 1;
        base += half & ones_if_not_above(at(base + half).start, pc);
        size -= half;
    }
    memory.mapping = base;
    let found = at(base);
    count != 0 && pc >= found.start && pc < found.end
}

/// Looks up the rule for an ELF address: page, row, rule.
#[inline(always)]
pub fn find_rule(mapping: &Mapping, elf_address: u64) -> Result<Rule, WalkStatus> {
    let entry = mapping.page_table.wrapping_add((elf_address >> 12) as u32 * 2);
    let shard = shard(entry).ok_or(WalkStatus::Corrupt)?;
    let first = word(shard, entry as u64);
    let count = word(shard, entry as u64 + 1) as u64;
    if count == 0 {
        return Err(WalkStatus::NoInfo);
    }
    let shard = if first / SHARD_WORDS == entry / SHARD_WORDS {
        shard
    } else {
        self::shard(first).ok_or(WalkStatus::Corrupt)?
    };
    let key = (elf_address & 0xfff) << 20 | 0xf_ffff;
    let mut base = first as u64;
    let mut size = count;
    // 2^12 = rows of a page at most.
    for _ in 0..12 {
        let half = size >> 1;
        base += half & ones_if_not_above(word(shard, base + half) as u64, key);
        size -= half;
    }
    let rule = Row(word(shard, base)).rule();
    RULES.get(rule).copied().ok_or(WalkStatus::Corrupt)
}

/// The shard of a word address.
#[inline(always)]
fn shard(word_address: u32) -> Option<*const Shard> {
    // The key must lie on the stack: a promoted constant would become a data section of its own.
    let mut zero = 0;
    core::hint::black_box(&mut zero);
    SHARDS.get_value(word_address / SHARD_WORDS, &zero).map(|shard| &raw const *shard)
}

/// The word at a word address of a shard.
#[inline(always)]
fn word(shard: *const Shard, word_address: u64) -> u32 {
    let index = mask::<{ SHARD_WORDS as u64 - 1 }>(word_address) as usize;
    // SAFETY: the index is below SHARD_WORDS, and the kernel keeps the shard while the program runs.
    unsafe { shard.cast::<u32>().wrapping_add(index).read() }
}
