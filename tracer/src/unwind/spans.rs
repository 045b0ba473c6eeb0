//! Which entry of which unwind section describes which stretch of text.

use std::collections::HashMap;
use std::ops::Range;

use gimli::{BaseAddresses, CommonInformationEntry, FrameDescriptionEntry, UnwindOffset};

use super::elf::Bytes;

/// Longest CIE. Its instructions run once for each of its functions, so a long one would multiply the work; compilers write
/// 20 to 40 bytes.
const MAX_CIE_BYTES: usize = 256;
/// CIEs kept parsed at most; a linked file has some dozens.
const MAX_CIES: usize = 4096;

/// A stretch of text that one FDE describes. Addresses are offsets from the builder's base address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    /// Behind the last byte.
    pub(super) end: u32,
    /// Offset of the FDE in its section.
    pub(super) fde: u32,
    /// Which section.
    pub(super) source: Source,
}

/// The two forms of call frame information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    EhFrame,
    DebugFrame,
}

pub(super) type Cie<'a> = CommonInformationEntry<Bytes<'a>>;
pub(super) type Fde<'a> = FrameDescriptionEntry<Bytes<'a>>;

/// One unwind section with its parsed CIEs.
pub(super) struct Entries<'a, S> {
    pub(super) section: &'a S,
    pub(super) bases: &'a BaseAddresses,
    cies: HashMap<usize, Cie<'a>>,
    last: Option<(usize, Cie<'a>)>,
}

impl<'a, S: gimli::UnwindSection<Bytes<'a>>> Entries<'a, S> {
    pub(super) fn new(section: &'a S, bases: &'a BaseAddresses) -> Self {
        Self { section, bases, cies: HashMap::new(), last: None }
    }

    /// Parses the FDE at an offset of the section.
    pub(super) fn fde(&mut self, offset: u32) -> gimli::Result<Fde<'a>> {
        let Self { section, bases, cies, last } = self;
        section.fde_from_offset(bases, S::Offset::from(offset as usize), |section, bases, offset| {
            let key = UnwindOffset::into(offset);
            if let Some((_, cie)) = last.as_ref().filter(|(last, _)| *last == key) {
                return Ok(cie.clone());
            }
            let cie = match cies.get(&key) {
                Some(cie) => cie.clone(),
                None => {
                    let cie = parse_cie(section, bases, offset)?;
                    if cies.len() < MAX_CIES {
                        cies.insert(key, cie.clone());
                    }
                    cie
                }
            };
            *last = Some((key, cie.clone()));
            Ok(cie)
        })
    }

    /// Finds the text of every FDE that starts in `text`, in the order of the section. An entry that cannot be read is
    /// passed over and counted: the next one begins where its length says.
    pub(super) fn spans(&mut self, source: Source, base: u64, text: &[Range<u64>]) -> (Vec<Span>, u64) {
        let bytes = self.section.section().slice();
        let (mut spans, mut unreadable) = (Vec::new(), 0);
        let mut next = 0;
        while let Some(entry) = EntryHeader::read(bytes, next) {
            let offset = next;
            next = entry.end;
            if entry.is_empty() || entry.is_cie(source) {
                continue;
            }
            let Ok(fde) = u32::try_from(offset) else { break };
            match self.fde(fde) {
                Ok(parsed) => spans.extend(span(&parsed, fde, source, base, text)),
                Err(_) => unreadable += 1,
            }
        }
        (spans, unreadable)
    }
}

fn parse_cie<'a, S: gimli::UnwindSection<Bytes<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    offset: S::Offset,
) -> gimli::Result<Cie<'a>> {
    let at: usize = UnwindOffset::into(offset);
    match EntryHeader::read(section.section().slice(), at) {
        Some(entry) if entry.end - at <= MAX_CIE_BYTES => section.cie_from_offset(bases, offset),
        _ => Err(gimli::Error::NotCieId(at as u64)),
    }
}

/// Length and id of an entry, enough to step over it.
struct EntryHeader {
    id: Option<u64>,
    wide: bool,
    end: usize,
}

impl EntryHeader {
    /// `None` at the section's end, or where an entry runs over it.
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let double = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let wide = word(at)? == u32::MAX;
        let (body, length) = if wide { (at + 12, double(at + 4)?) } else { (at + 4, u64::from(word(at)?)) };
        let end = body.checked_add(usize::try_from(length).ok()?).filter(|&end| end <= bytes.len())?;
        let id = if wide && length >= 8 { double(body) } else { word(body).map(u64::from) };
        Some(Self { id: id.filter(|_| length >= 4), wide, end })
    }

    /// A length of zero ends `.eh_frame`, yet linkers that place a start-up object's terminator early leave one in the
    /// middle; in `.debug_frame` it is padding.
    fn is_empty(&self) -> bool {
        self.id.is_none()
    }

    fn is_cie(&self, source: Source) -> bool {
        match source {
            // Always 32 bits wide in .eh_frame (Linux Standard Base, 10.6.1).
            Source::EhFrame => self.id.is_some_and(|id| id as u32 == 0),
            Source::DebugFrame => self.id == Some(if self.wide { u64::MAX } else { u64::from(u32::MAX) }),
        }
    }
}

fn span(fde: &Fde<'_>, offset: u32, source: Source, base: u64, text: &[Range<u64>]) -> Option<Span> {
    let start = fde.initial_address();
    let range = text.get(text.partition_point(|range| range.end <= start)).filter(|range| range.contains(&start))?;
    let end = fde.end_address().min(range.end);
    // Linkers leave the .debug_frame entries of discarded functions behind, with address 0: the file's own header.
    if start >= end || (start == 0 && source == Source::DebugFrame) {
        return None;
    }
    // Text spans less than 2^32 bytes, see elf::MAX_TEXT_SPAN.
    Some(Span { start: (start - base) as u32, end: (end - base) as u32, fde: offset, source })
}

/// Sorts spans and makes them disjoint: where two overlap, the one that starts first wins; of two with one start, the first
/// in the section.
pub(super) fn disjoint(mut spans: Vec<Span>) -> Vec<Span> {
    if !spans.is_sorted_by_key(|span| span.start) {
        spans.sort_by_key(|span| span.start);
    }
    let mut end = 0;
    spans.retain_mut(|span| {
        span.start = span.start.max(end);
        end = end.max(span.end);
        span.start < span.end
    });
    spans
}

/// Adds to `first` those spans of `second` that start where `first` has nothing. Both are sorted and disjoint, and so is
/// the result.
pub(super) fn filled(first: Vec<Span>, second: &[Span]) -> Vec<Span> {
    if second.is_empty() {
        return first;
    }
    let mut all = Vec::with_capacity(first.len() + second.len());
    let mut rest = first.into_iter().peekable();
    let mut covered = 0;
    for span in second {
        while let Some(earlier) = rest.next_if(|earlier| earlier.start <= span.start) {
            covered = earlier.end;
            all.push(earlier);
        }
        let end = rest.peek().map_or(span.end, |later| span.end.min(later.start));
        if span.start >= covered {
            all.push(Span { end, ..*span });
        }
    }
    all.extend(rest);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(source: Source, ranges: &[(u32, u32)]) -> Vec<Span> {
        ranges.iter().map(|&(start, end)| Span { start, end, fde: start, source }).collect()
    }

    fn ranges(spans: &[Span]) -> Vec<(u32, u32)> {
        spans.iter().map(|span| (span.start, span.end)).collect()
    }

    #[test]
    fn overlap_goes_to_the_first() {
        let all = disjoint(spans(Source::EhFrame, &[(50, 60), (0, 20), (10, 30), (12, 18), (50, 70)]));
        assert_eq!(ranges(&all), [(0, 20), (20, 30), (50, 60), (60, 70)]);
    }

    #[test]
    fn debug_frame_fills_only_what_eh_frame_lacks() {
        let eh = spans(Source::EhFrame, &[(10, 20), (40, 50)]);
        let debug = spans(Source::DebugFrame, &[(0, 5), (10, 20), (20, 30), (35, 45), (60, 70)]);
        let all = filled(eh, &debug);
        assert_eq!(ranges(&all), [(0, 5), (10, 20), (20, 30), (35, 40), (40, 50), (60, 70)]);
        assert_eq!(all.iter().filter(|span| span.source == Source::EhFrame).count(), 2);
    }
}
