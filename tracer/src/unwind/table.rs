//! The finished table of one module.

use std::ops::Range;

use tracer_ebpf::abi::process::MappingKind;
use tracer_ebpf::abi::unwind::{PAGE_SIZE, Row, Rule};

use super::coverage::Coverage;

/// The rows of one page: `rows[first..first + count]` of the table. No rows: nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Index of the first row.
    pub first: u32,
    /// Rows.
    pub count: u32,
}

/// How to unwind every address of one module. Addresses are ELF virtual addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleTable {
    pub(super) first_page: u64,
    pub(super) pages: Vec<Page>,
    pub(super) rows: Vec<Row>,
    pub(super) rules: Vec<Rule>,
    pub(super) frame_pointer: Vec<Range<u64>>,
    /// Made by the Go toolchain.
    pub(super) go: bool,
    pub(super) coverage: Coverage,
}

impl ModuleTable {
    /// ELF page number (address / [`PAGE_SIZE`]) of the first of [`ModuleTable::pages`].
    pub fn first_page(&self) -> u64 {
        self.first_page
    }

    /// Pages from the module's first to its last page of text; empty for a module without unwind information.
    pub fn pages(&self) -> &[Page] {
        &self.pages
    }

    /// Rows, page by page. Their rule numbers index [`ModuleTable::rules`].
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The module's distinct rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// How much of the text the table describes.
    pub fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// Bytes of kernel memory that the table takes.
    pub fn bytes(&self) -> u64 {
        8 * self.pages.len() as u64 + 4 * self.rows.len() as u64
    }

    /// Text that is unwound by frame pointer, ascending: all pages of it where the module has no unwind information, else
    /// the code of a language run-time that is known to keep frame pointers (Go, V8).
    pub fn frame_pointer_text(&self) -> &[Range<u64>] {
        &self.frame_pointer
    }

    /// The rule at an address, found as the walk in the kernel finds it: the last row of its page at or before it. `None`
    /// outside the table and in a page without rows.
    pub fn lookup(&self, address: u64) -> Option<Rule> {
        let page = usize::try_from((address / PAGE_SIZE).checked_sub(self.first_page)?).ok()?;
        let page = self.pages.get(page).filter(|page| page.count > 0)?;
        let rows = self.rows.get(page.first as usize..)?.get(..page.count as usize)?;
        let offset = (address % PAGE_SIZE) as u32;
        let row = rows.get(rows.partition_point(|row| row.offset() <= offset).checked_sub(1)?)?;
        self.rules.get(row.rule() as usize).copied()
    }

    /// Cuts the ELF addresses of an executable mapping into the stretches that the process map needs, each unwound in one
    /// way, in order. What lies outside the module's text is left out: the walk must not look it up.
    pub fn pieces(&self, mapping: Range<u64>) -> Vec<(Range<u64>, MappingKind)> {
        let last_page = self.first_page + self.pages.len() as u64;
        let end = last_page.saturating_mul(PAGE_SIZE).min(mapping.end);
        let frame_pointer = if self.go { MappingKind::Go } else { MappingKind::FramePointer };
        let mut pieces = Vec::new();
        let mut next = mapping.start.max(self.first_page * PAGE_SIZE);
        let mut push = |range: Range<u64>, kind| {
            if range.start < range.end {
                pieces.push((range, kind));
            }
        };
        for range in &self.frame_pointer {
            let range = range.start.max(mapping.start)..range.end.min(mapping.end);
            if range.start < range.end {
                push(next..range.start.min(end), MappingKind::Table);
                next = next.max(range.end);
                push(range, frame_pointer);
            }
        }
        push(next..end, MappingKind::Table);
        pieces
    }
}
