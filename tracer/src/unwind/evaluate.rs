//! Spans to rows: runs the call frame instructions of every function.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use gimli::{
    BaseAddresses, DebugFrame, EhFrame, Register, RegisterRule, UnwindContext, UnwindContextStorage, UnwindSection,
    UnwindTableRow,
};
use rayon::prelude::*;

use super::elf::{Bytes, UnwindSection as UnwindBytes};
use super::rule::Translator;
use super::rules::{Rules, UNSUPPORTED};
use super::spans::{Entries, Source, Span, disjoint, filled};

/// Rows of a module at most, before padding rows: 128 MiB of table, some 1 GB of text.
const MAX_ROWS: usize = 32 << 20;
/// Functions evaluated as one piece of work.
const CHUNK: usize = 4096;

/// Fixed, so that hostile instructions cannot take memory: a function that needs more is unsupported from there on.
pub(super) struct Storage;

impl UnwindContextStorage<usize> for Storage {
    // 16 general registers, the return address, and room for vector registers.
    type Rules = [(Register, RegisterRule<usize>); 34];
    // Compilers nest DW_CFA_remember_state once.
    type Stack = [UnwindTableRow<usize, Self>; 8];
}

/// From `offset` (from the builder's base address) on, `rule` of the chunk's rules holds.
#[derive(Clone, Copy)]
pub(super) struct SpanRow {
    pub(super) offset: u32,
    pub(super) rule: u32,
}

/// The rows of consecutive spans.
pub(super) struct Chunk {
    pub(super) rows: Vec<SpanRow>,
    /// How many of `rows` belong to each span.
    pub(super) row_counts: Vec<u32>,
    pub(super) rules: Rules,
    /// Rows that are unsupported because the rules are too many.
    pub(super) rows_without_rule: u64,
}

/// The unwind sections of a module.
pub(super) struct Sections<'a> {
    pub(super) eh_frame: EhFrame<Bytes<'a>>,
    pub(super) eh_frame_bases: BaseAddresses,
    pub(super) debug_frame: DebugFrame<Bytes<'a>>,
    pub(super) debug_frame_bases: BaseAddresses,
}

impl<'a> Sections<'a> {
    /// Both sections of a file.
    pub(super) fn new(eh_frame: &'a UnwindBytes<'_>, debug_frame: &'a UnwindBytes<'_>) -> Self {
        Self {
            eh_frame: eh_frame.as_eh_frame(),
            eh_frame_bases: eh_frame.bases.clone(),
            debug_frame: debug_frame.as_debug_frame(),
            debug_frame_bases: debug_frame.bases.clone(),
        }
    }

    /// Spans of both sections, sorted and disjoint, and the number of unreadable entries.
    pub(super) fn spans(&self, base: u64, text: &[Range<u64>]) -> (Vec<Span>, u64) {
        let mut entries = Entries::new(&self.eh_frame, &self.eh_frame_bases);
        let (spans, unreadable) = entries.spans(Source::EhFrame, base, text);
        let mut entries = Entries::new(&self.debug_frame, &self.debug_frame_bases);
        let (debug_spans, debug_unreadable) = entries.spans(Source::DebugFrame, base, text);
        (filled(disjoint(spans), &disjoint(debug_spans)), unreadable + debug_unreadable)
    }

    /// Evaluates spans in parallel. `None` where they make more rows than a module may have.
    pub(super) fn evaluate(&self, base: u64, spans: &[Span]) -> Option<Vec<Chunk>> {
        let total = AtomicUsize::new(0);
        spans
            .par_chunks(CHUNK)
            .map(|spans| {
                let chunk = self.evaluate_chunk(base, spans, MAX_ROWS - total.load(Ordering::Relaxed).min(MAX_ROWS))?;
                let before = total.fetch_add(chunk.rows.len(), Ordering::Relaxed);
                (before + chunk.rows.len() <= MAX_ROWS).then_some(chunk)
            })
            .collect()
    }

    fn evaluate_chunk(&self, base: u64, spans: &[Span], max_rows: usize) -> Option<Chunk> {
        let mut chunk = Chunk {
            rows: Vec::with_capacity(8 * spans.len()),
            row_counts: Vec::with_capacity(spans.len()),
            rules: Rules::of_module(),
            rows_without_rule: 0,
        };
        let mut context = UnwindContext::new_in();
        let mut eh_frame = Entries::new(&self.eh_frame, &self.eh_frame_bases);
        let mut debug_frame = Entries::new(&self.debug_frame, &self.debug_frame_bases);
        for span in spans {
            let before = chunk.rows.len();
            match span.source {
                Source::EhFrame => chunk.add(&mut eh_frame, &mut context, base, span),
                Source::DebugFrame => chunk.add(&mut debug_frame, &mut context, base, span),
            }
            chunk.row_counts.push((chunk.rows.len() - before) as u32);
            if chunk.rows.len() > max_rows {
                return None;
            }
        }
        Some(chunk)
    }
}

impl Chunk {
    /// Appends the rows of a span; they cover all of it. Where the instructions cannot be read to the end, the rest is
    /// unsupported.
    fn add<'a, S: UnwindSection<Bytes<'a>>>(
        &mut self,
        entries: &mut Entries<'a, S>,
        context: &mut UnwindContext<usize, Storage>,
        base: u64,
        span: &Span,
    ) {
        let mut covered = span.start;
        let _: gimli::Result<()> = self.add_known(entries, context, base, span, &mut covered);
        if covered < span.end {
            self.rows.push(SpanRow { offset: covered, rule: UNSUPPORTED });
        }
    }

    fn add_known<'a, S: UnwindSection<Bytes<'a>>>(
        &mut self,
        entries: &mut Entries<'a, S>,
        context: &mut UnwindContext<usize, Storage>,
        base: u64,
        span: &Span,
        covered: &mut u32,
    ) -> gimli::Result<()> {
        let fde = entries.fde(span.fde)?;
        let translator = Translator {
            section: entries.section,
            encoding: fde.cie().encoding(),
            return_address: fde.cie().return_address_register(),
            signal: fde.is_signal_trampoline(),
        };
        let mut table = fde.rows(entries.section, entries.bases, context)?;
        let mut last = None;
        while let Some(row) = table.next_row()? {
            let end = row.end_address().saturating_sub(base).min(u64::from(span.end)) as u32;
            // Rows follow each other without gaps, so a row begins where the last one ended.
            if end <= *covered {
                continue;
            }
            let rule = self.rules.number(translator.rule(row)).unwrap_or_else(|| {
                self.rows_without_rule += 1;
                UNSUPPORTED
            });
            if last != Some(rule) {
                self.rows.push(SpanRow { offset: *covered, rule });
                last = Some(rule);
            }
            *covered = end;
            if end == span.end {
                break;
            }
        }
        Ok(())
    }
}
