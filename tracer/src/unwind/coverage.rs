//! How much of a module's text the table describes.

use std::ops::Range;

use tracer_ebpf::abi::unwind::RuleKind;

/// Bytes of executable text (executable sections; segments where a file has no section headers), by what is known of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// All text.
    pub text: u64,
    /// With a rule that the walk can follow, or a known end of the stack.
    pub with_rule: u64,
    /// Described in a form that the walk does not know.
    pub unsupported: u64,
    /// Not described, but unwound by frame pointer.
    pub frame_pointer: u64,
    /// Not described.
    pub no_info: u64,
    /// Unwind entries that could not be read at all.
    pub unreadable_entries: u64,
    /// Rows that are unsupported because the module has too many distinct rules.
    pub rows_without_rule: u64,
}

/// Counts stretches of addresses, given in ascending order, against the text.
pub(super) struct Tally<'t> {
    code: &'t [Range<u64>],
    counted: Coverage,
}

impl<'t> Tally<'t> {
    /// `code` is sorted and disjoint.
    pub(super) fn new(code: &'t [Range<u64>]) -> Self {
        let text = code.iter().map(|range| range.end - range.start).sum();
        Self { code, counted: Coverage { text, ..Coverage::default() } }
    }

    pub(super) fn add(&mut self, stretch: Range<u64>, kind: u8) {
        let mut bytes = 0;
        while let Some(range) = self.code.first().filter(|range| range.start < stretch.end) {
            bytes += range.end.min(stretch.end).saturating_sub(range.start.max(stretch.start));
            if range.end > stretch.end {
                break;
            }
            self.code = &self.code[1..];
        }
        match kind {
            kind if kind == RuleKind::NoInfo as u8 => {}
            kind if kind == RuleKind::Unsupported as u8 => self.counted.unsupported += bytes,
            _ => self.counted.with_rule += bytes,
        }
    }

    pub(super) fn finish(self) -> Coverage {
        let Coverage { text, with_rule, unsupported, .. } = self.counted;
        Coverage { no_info: text - with_rule - unsupported, ..self.counted }
    }
}

impl Coverage {
    /// Counts text that is not described but lies in `frame_pointer`. Both lists are sorted and disjoint.
    pub(super) fn with_frame_pointer(self, code: &[Range<u64>], frame_pointer: &[Range<u64>]) -> Self {
        let mut tally = Tally::new(code);
        for range in frame_pointer {
            tally.add(range.clone(), RuleKind::Rbp as u8);
        }
        let bytes = tally.counted.with_rule.min(self.no_info);
        Self { frame_pointer: bytes, no_info: self.no_info - bytes, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_only_text() {
        let code = [10..20, 30..40, 50..60];
        let mut tally = Tally::new(&code);
        tally.add(0..12, RuleKind::Rsp as u8);
        tally.add(12..35, RuleKind::Unsupported as u8);
        tally.add(35..55, RuleKind::End as u8);
        tally.add(55..100, RuleKind::NoInfo as u8);
        let expected =
            Coverage { text: 30, with_rule: 2 + 5 + 5, unsupported: 8 + 5, no_info: 5, ..Coverage::default() };
        assert_eq!(tally.finish(), expected);
    }
}
