//! Where the words of each table go.
//!
//! The words are kept here as the kernel shall have them. A table is written once; [`Placements::take_dirty`] then names the
//! shards that changed, however many tables they hold, so an upload costs one update a shard.

use std::collections::HashMap;
use std::ops::Range;

use tracer_ebpf::abi::unwind::{MAX_SHARDS, Row, Rule, SHARD_WORDS};

use super::rules::{Rules, UNSUPPORTED};
use super::words::FreeWords;
use super::{ModuleTable, Page};
use crate::target::FileState;

const SHARD_BYTES: u64 = 4 * SHARD_WORDS as u64;

/// All placed tables: one dictionary, one space of words.
#[derive(Debug)]
pub struct Placements {
    rules: Rules,
    rules_taken: usize,
    rows_without_rule: u64,
    free: FreeWords,
    shards: Vec<Option<Shard>>,
    /// Their page tables. What is placed stays: the walk may be in it at any time.
    placed: HashMap<FileState, u32>,
}

#[derive(Debug)]
struct Shard {
    words: Box<[u32]>,
    dirty: Range<usize>,
}

/// A shard whose words the kernel does not have yet.
#[derive(Debug, PartialEq, Eq)]
pub struct DirtyShard<'a> {
    /// Its number.
    pub shard: u32,
    /// All its words.
    pub words: &'a [u32],
    /// Those of `words` that may differ from what the kernel has.
    pub changed: Range<usize>,
}

/// The table does not fit the memory limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its unwind table needs {needed} bytes; of the {limit} bytes for unwind tables, {free} are free")]
pub struct TableMemoryError {
    /// Bytes of the table.
    pub needed: u64,
    /// Bytes not taken by other tables. May exceed `needed` where they lie scattered.
    pub free: u64,
    /// Bytes for all tables.
    pub limit: u64,
}

impl Placements {
    /// Kernel memory for tables by default.
    pub const DEFAULT_LIMIT: u64 = 64 << 20;

    /// `limit`: bytes of kernel memory for tables, in whole shards of 1 MiB: at least one and at most [`MAX_SHARDS`]. A
    /// shard is created when it is first needed.
    pub fn new(limit: u64) -> Self {
        let shards = (limit / SHARD_BYTES).clamp(1, u64::from(MAX_SHARDS)) as usize;
        Self {
            rules: Rules::dictionary(),
            rules_taken: 0,
            rows_without_rule: 0,
            free: FreeWords::new(shards as u32 * SHARD_WORDS),
            shards: (0..shards).map(|_| None).collect(),
            placed: HashMap::new(),
        }
    }

    /// Places a module's table, unless it is placed already, and returns its
    /// [`page_table`](tracer_ebpf::abi::process::Mapping::page_table).
    ///
    /// # Errors
    /// Where the memory limit leaves no room; nothing is placed then.
    pub fn place(&mut self, identity: FileState, table: &ModuleTable) -> Result<u32, TableMemoryError> {
        if let Some(&page_table) = self.placed.get(&identity) {
            return Ok(page_table);
        }
        if table.pages().is_empty() {
            return Ok(0);
        }
        let before = self.free.clone();
        let Some((entries, addresses)) = self.reserve(table) else {
            self.free = before;
            let free = 4 * u64::from(self.free.count());
            return Err(TableMemoryError {
                needed: table.bytes(),
                free,
                limit: self.shards.len() as u64 * SHARD_BYTES,
            });
        };
        let numbers: Vec<_> = table.rules().iter().map(|&rule| self.rules.number(rule)).collect();
        let mut rows_without_rule = 0;
        for ((index, page), address) in (0..).zip(table.pages()).zip(addresses) {
            self.write(entries + 2 * index, [address, page.count]);
            let rows = table.rows().get(page.first as usize..).unwrap_or_default();
            let global = |row: &Row| {
                let number = numbers.get(row.rule() as usize).copied().flatten();
                rows_without_rule += u64::from(number.is_none());
                Row::new(row.offset() as u16, number.unwrap_or(UNSUPPORTED)).0
            };
            self.write(address, rows.iter().take(page.count as usize).map(global));
        }
        self.rows_without_rule += rows_without_rule;
        let page_table = entries.wrapping_sub((table.first_page() as u32).wrapping_mul(2));
        self.placed.insert(identity, page_table);
        Ok(page_table)
    }

    /// Takes words for the page table, then for the rows. Returns the address of the first, and that of each page's rows. `None`
    /// where the space does not suffice.
    fn reserve(&mut self, table: &ModuleTable) -> Option<(u32, Vec<u32>)> {
        let entries = self.free.take_even(u32::try_from(2 * table.pages().len()).ok()?)?;
        let rows: u32 = table.rows().len().try_into().ok()?;
        let most = table.pages().iter().map(|page| page.count).max().unwrap_or(0);
        // All rows in one stretch where possible; then in ever smaller ones.
        let holes = [rows.min(SHARD_WORDS), most.max(SHARD_WORDS / 64).min(rows), most]
            .into_iter()
            .map(|least| self.free.within_shards(least.max(1)))
            .find(|holes| capacity(holes, table.pages()) == table.pages().len())?;
        let mut addresses = Vec::with_capacity(table.pages().len());
        for hole in holes {
            let mut next = hole.start;
            while let Some(page) = table.pages().get(addresses.len()).filter(|page| page.count <= hole.end - next) {
                addresses.push(next);
                next += page.count;
            }
            if next > hole.start {
                self.free.take(hole.start..next);
            }
        }
        Some((entries.start, addresses))
    }

    /// Writes consecutive words of one shard.
    fn write(&mut self, address: u32, words: impl IntoIterator<Item = u32>) {
        let Some(shard) = self.shards.get_mut((address / SHARD_WORDS) as usize) else { return };
        let shard = shard.get_or_insert_with(|| Shard { words: vec![0; SHARD_WORDS as usize].into(), dirty: 0..0 });
        let start = (address % SHARD_WORDS) as usize;
        let mut end = start;
        for (slot, word) in shard.words.iter_mut().skip(start).zip(words) {
            *slot = word;
            end += 1;
        }
        if start < end {
            let dirty = &shard.dirty;
            shard.dirty = if dirty.is_empty() { start..end } else { dirty.start.min(start)..dirty.end.max(end) };
        }
    }

    /// The shards with words that were written since the last call. Upload them, and the new rules, before any mapping that
    /// uses them.
    pub fn take_dirty(&mut self) -> impl Iterator<Item = DirtyShard<'_>> {
        (0..).zip(&mut self.shards).filter_map(|(shard, content)| {
            let content = content.as_mut()?;
            let changed = std::mem::replace(&mut content.dirty, 0..0);
            (!changed.is_empty()).then_some(DirtyShard { shard, words: &content.words, changed })
        })
    }

    /// The rules that were numbered since the last call, and the number of the first. Rules are never dropped.
    pub fn take_new_rules(&mut self) -> (u32, &[Rule]) {
        let rules = self.rules.as_slice();
        let first = std::mem::replace(&mut self.rules_taken, rules.len());
        (first as u32, &rules[first..])
    }

    /// Rows that were placed as unsupported because the dictionary is full.
    pub fn rows_without_rule(&self) -> u64 {
        self.rows_without_rule
    }

    /// Bytes of kernel memory: whole shards.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().flatten().count() as u64 * SHARD_BYTES
    }
}

/// How many of `pages` find room for their rows in `holes`, taken in order.
fn capacity(holes: &[Range<u32>], pages: &[Page]) -> usize {
    let mut placed = 0;
    for hole in holes {
        let mut left = hole.end - hole.start;
        while let Some(page) = pages.get(placed).filter(|page| page.count <= left) {
            left -= page.count;
            placed += 1;
        }
    }
    placed
}

#[cfg(test)]
mod tests;
