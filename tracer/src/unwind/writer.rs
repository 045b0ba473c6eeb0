//! Rows in ascending order to pages.

use std::ops::Range;

use tracer_ebpf::abi::unwind::{PAGE_SIZE, Row};

use super::coverage::{Coverage, Tally};
use super::rules::{NO_INFO, Rules};
use super::table::Page;

/// Writes the rows of a module, page by page: joins equal neighbours and opens each page with the rule that holds there.
pub(super) struct PageWriter<'t> {
    pages: Vec<Page>,
    rows: Vec<Row>,
    /// The rule in force, and since which offset.
    rule: u32,
    since: u32,
    base: u64,
    tally: Tally<'t>,
}

impl<'t> PageWriter<'t> {
    /// Offsets count from `base`, the address of a page; `code` is for the coverage.
    pub(super) fn new(base: u64, code: &'t [Range<u64>], rows: usize) -> Self {
        let (pages, rows) = (Vec::new(), Vec::with_capacity(rows));
        Self { pages, rows, rule: NO_INFO, since: 0, base, tally: Tally::new(code) }
    }

    /// From `offset` on, `rule` holds. Offsets never descend; the last word at one offset counts.
    pub(super) fn push(&mut self, offset: u32, rule: u32, rules: &Rules) {
        if rule == self.rule {
            return;
        }
        if offset > self.since {
            self.close(offset, rules);
        }
        (self.rule, self.since) = (rule, offset);
    }

    /// Writes the rule in force, from where it began up to `end`.
    fn close(&mut self, end: u32, rules: &Rules) {
        let stretch = self.base + u64::from(self.since)..self.base + u64::from(end);
        self.tally.add(stretch, rules.as_slice()[self.rule as usize].kind);
        if self.pages.len() <= page(self.since) {
            self.open();
        }
        self.row(offset_in_page(self.since));
        while self.pages.len() <= page(end - 1) {
            self.open();
            self.row(0);
        }
    }

    fn row(&mut self, offset: u16) {
        if let Some(page) = self.pages.last_mut() {
            page.count += 1;
            self.rows.push(Row::new(offset, self.rule));
        }
    }

    /// Begins a page. The one before it is complete: where it says only that nothing is known, it needs no row.
    fn open(&mut self) {
        self.drop_empty();
        self.pages.push(Page { first: self.rows.len() as u32, count: 0 });
    }

    fn drop_empty(&mut self) {
        if let (Some(page), Some(row)) = (self.pages.last_mut(), self.rows.last())
            && page.count == 1
            && row.rule() == NO_INFO
        {
            page.count = 0;
            self.rows.pop();
        }
    }

    /// Ends the table at `end`.
    pub(super) fn finish(mut self, end: u32, rules: &Rules) -> (Vec<Page>, Vec<Row>, Coverage) {
        if end > self.since {
            self.close(end, rules);
        }
        self.drop_empty();
        self.rows.shrink_to_fit();
        (self.pages, self.rows, self.tally.finish())
    }
}

fn page(offset: u32) -> usize {
    (u64::from(offset) / PAGE_SIZE) as usize
}

fn offset_in_page(offset: u32) -> u16 {
    (u64::from(offset) % PAGE_SIZE) as u16
}

#[cfg(test)]
mod tests {
    use tracer_ebpf::abi::unwind::RuleKind;

    use super::super::rule::plain;
    use super::super::rules::{END, UNSUPPORTED};
    use super::*;

    fn written(pushes: &[(u32, u32)], end: u32) -> Vec<Vec<(u32, u32)>> {
        let mut rules = Rules::of_module();
        assert_eq!(rules.number(plain(RuleKind::Signal)), Some(3));
        let mut writer = PageWriter::new(0, &[], 0);
        for &(offset, rule) in pushes {
            writer.push(offset, rule, &rules);
        }
        let (pages, rows, _) = writer.finish(end, &rules);
        let rows_of = |page: &Page| &rows[page.first as usize..][..page.count as usize];
        pages.iter().map(|page| rows_of(page).iter().map(|row| (row.offset(), row.rule())).collect()).collect()
    }

    #[test]
    fn every_page_opens_with_the_rule_in_force() {
        let pages = written(&[(0x10, END), (0x2fff, UNSUPPORTED), (0x3001, 3)], 0x4001);
        let expected: [&[_]; 5] = [
            &[(0, NO_INFO), (0x10, END)],
            &[(0, END)],
            &[(0, END), (0xfff, UNSUPPORTED)],
            &[(0, UNSUPPORTED), (1, 3)],
            &[(0, 3)],
        ];
        assert_eq!(pages, expected);
    }

    #[test]
    fn pages_of_unknown_text_have_no_rows() {
        let pages = written(&[(0x1100, 3), (0x1200, NO_INFO), (0x3000, END), (0x3100, NO_INFO)], 0x5000);
        let expected: [&[_]; 5] =
            [&[], &[(0, NO_INFO), (0x100, 3), (0x200, NO_INFO)], &[], &[(0, END), (0x100, NO_INFO)], &[]];
        assert_eq!(pages, expected);
    }

    #[test]
    fn equal_neighbours_join() {
        assert_eq!(
            written(&[(0, 3), (8, 3), (16, END), (16, UNSUPPORTED), (20, UNSUPPORTED)], 0x20),
            [[(0, 3), (16, UNSUPPORTED)]]
        );
    }
}
