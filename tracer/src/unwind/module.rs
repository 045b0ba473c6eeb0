//! ELF bytes to the table of one module.

use std::cell::Cell;
use std::ops::Range;

use object::read::ReadRef;
use tracer_ebpf::abi::unwind::{PAGE_SIZE, RuleKind};

use super::BuildError;
use super::coverage::Coverage;
use super::elf::{Image, merged};
use super::evaluate::{Chunk, Sections};
use super::gaps::{Gap, KnownCode, gaps, is_padding};
use super::rule::plain;
use super::rules::{END, NO_INFO, Rules, UNSUPPORTED};
use super::spans::{Source, Span};
use super::table::ModuleTable;
use super::writer::PageWriter;

impl ModuleTable {
    /// Builds the table of an ELF file, given as a byte slice or as a [`ReadCache`](object::read::ReadCache) over a file.
    /// (A mapped file would do too, but the target may truncate its file, and then reading the mapping kills the reader.)
    ///
    /// `.eh_frame` counts before `.debug_frame`, which fills in functions that the former lacks.
    ///
    /// A module without either gets an empty table, and so does a Go program: their text is unwound by frame pointers (see
    /// [`ModuleTable::pieces`]). Go's `.debug_frame` is correct within one stack, but goroutines change stacks, which only
    /// the frame pointers follow. In a Go program with `.eh_frame`, that section describes linked-in C code, which mostly
    /// lacks frame pointers: it gets its table, and only the widest stretch without entries, the Go code, goes by frame
    /// pointers.
    ///
    /// # Errors
    /// Where the file is no ELF file for x86-64, where its headers point outside of it, or where it exceeds a limit. A
    /// broken entry is not an error: it is counted in [`Coverage::unreadable_entries`], or its function unsupported.
    pub fn build<'a>(data: impl ReadRef<'a>) -> Result<Self, BuildError> {
        let left = Cell::new(0);
        let image = Image::parse(data, &left)?;
        let (Some(first), Some(last)) = (image.text.first(), image.text.last()) else {
            return Ok(Self::default());
        };
        let base = first.start & !(PAGE_SIZE - 1);
        // Fits, see elf::MAX_TEXT_SPAN.
        let end = (last.end - base) as u32;

        let empty = super::elf::UnwindSection::empty();
        let eh_frame = image.eh_frame.as_ref().unwrap_or(&empty);
        let debug_frame = image.debug_frame.as_ref().filter(|_| !image.go).unwrap_or(&empty);
        let sections = Sections::new(eh_frame, debug_frame);
        let (mut spans, unreadable_entries) = sections.spans(base, &image.text);
        drop_musl_clone(&image, base, &mut spans);
        if spans.is_empty() {
            let text = image.code.iter().map(|range| range.end - range.start).sum();
            let coverage = Coverage { text, frame_pointer: text, unreadable_entries, ..Coverage::default() };
            return Ok(Self { frame_pointer: page_ranges(&image.text), go: image.go, coverage, ..Self::default() });
        }
        let chunks = sections.evaluate(base, &spans).ok_or(BuildError::TooManyRows)?;

        let wide: Vec<Gap> = gaps(&spans, end).filter(|gap| !is_padding(gap)).collect();
        let known = if wide.is_empty() { KnownCode::default() } else { KnownCode::find(&image, base, &wide) };

        let mut assembly = Assembly {
            rules: Rules::of_module(),
            writer: PageWriter::new(base, &image.code, chunks.iter().map(|chunk| chunk.rows.len()).sum()),
            known: &known.functions,
            rows_without_rule: 0,
        };
        let mut gaps = gaps(&spans, end);
        let mut rest = spans.as_slice();
        for chunk in chunks {
            let (now, later) = rest.split_at(chunk.row_counts.len().min(rest.len()));
            rest = later;
            assembly.chunk(&chunk, now, &mut gaps);
        }
        gaps.for_each(|gap| assembly.gap(gap));

        let (pages, rows, coverage) = assembly.writer.finish(end, &assembly.rules);
        let address = |offset: u32| base + u64::from(offset);
        let frame_pointer = known.frame_pointer.iter().map(|gap| address(gap.start)..address(gap.end));
        let frame_pointer: Vec<_> = frame_pointer.collect();
        let coverage = coverage.with_frame_pointer(&image.code, &frame_pointer);
        let coverage = Coverage { unreadable_entries, rows_without_rule: assembly.rows_without_rule, ..coverage };
        let rules = assembly.rules.into_vec();
        Ok(Self { first_page: base / PAGE_SIZE, pages, rows, rules, frame_pointer, go: image.go, coverage })
    }
}

/// musl generates its `.debug_frame` from the instructions, so it describes `__clone` as if a thread's first function
/// returned into the caller of `clone`. Without the entry it counts as what it is: see [`KnownCode::find`].
fn drop_musl_clone<'a, R: ReadRef<'a>>(image: &Image<'a, '_, R>, base: u64, spans: &mut Vec<Span>) {
    let entry = |address: u64| {
        let offset = u32::try_from(address.checked_sub(base)?).ok()?;
        let index = spans.binary_search_by_key(&offset, |span| span.start).ok()?;
        (spans[index].source == Source::DebugFrame).then_some(index)
    };
    if spans.iter().all(|span| span.source == Source::EhFrame) {
        return;
    }
    let mut clone = None;
    let wanted = |address| entry(address).is_some();
    image.function_symbols(wanted, |name, range| {
        if name == b"__clone" {
            clone = entry(range.start);
        }
    });
    if let Some(index) = clone {
        spans.remove(index);
    }
}

/// Whole pages: what the kernel maps. Segments of a page are joined.
fn page_ranges(text: &[Range<u64>]) -> Vec<Range<u64>> {
    let round_up = |address: u64| address.checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX);
    merged(text.iter().map(|range| range.start & !(PAGE_SIZE - 1)..round_up(range.end)).collect())
}

/// Joins the chunks to one sequence of rows.
struct Assembly<'t> {
    rules: Rules,
    writer: PageWriter<'t>,
    /// Functions in gaps that are yet to come, each of one rule.
    known: &'t [(Range<u32>, RuleKind)],
    rows_without_rule: u64,
}

impl Assembly<'_> {
    fn chunk(&mut self, chunk: &Chunk, spans: &[Span], gaps: &mut impl Iterator<Item = Gap>) {
        let numbers: Vec<_> = chunk.rules.as_slice().iter().map(|&rule| self.rules.number(rule)).collect();
        self.rows_without_rule += chunk.rows_without_rule;
        let mut rows = chunk.rows.as_slice();
        for (_, &count) in spans.iter().zip(&chunk.row_counts) {
            if let Some(gap) = gaps.next() {
                self.gap(gap);
            }
            let (now, later) = rows.split_at((count as usize).min(rows.len()));
            rows = later;
            for row in now {
                let number = numbers[row.rule as usize];
                self.rows_without_rule += u64::from(number.is_none());
                self.writer.push(row.offset, number.unwrap_or(UNSUPPORTED), &self.rules);
            }
        }
    }

    fn gap(&mut self, gap: Gap) {
        if gap.is_empty() {
            return;
        }
        if is_padding(&gap) {
            return self.writer.push(gap.start, END, &self.rules);
        }
        self.writer.push(gap.start, NO_INFO, &self.rules);
        while let Some(((function, kind), later)) =
            self.known.split_first().filter(|((first, _), _)| first.start < gap.end)
        {
            self.known = later;
            let rule = self.rules.number(plain(*kind)).unwrap_or(UNSUPPORTED);
            self.writer.push(function.start, rule, &self.rules);
            // The next one may begin before this one ends.
            let end = later.first().map_or(function.end, |(next, _)| function.end.min(next.start));
            self.writer.push(end, NO_INFO, &self.rules);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_that_share_a_page_make_one_range() {
        let text = [0x10..0x165c, 0x1ef8..0x2010, 0x4000..0x4001];
        assert_eq!(page_ranges(&text), [0..0x3000, 0x4000..0x5000]);
    }
}
