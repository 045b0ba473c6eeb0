//! Text that no entry describes.
//!
//! A gap of a few bytes is padding between functions. A return address never points behind padding, but the start of a
//! coroutine does: `makecontext` and its like put the address of a trampoline's first byte where a return address belongs,
//! and the walk looks up the byte before it. So a narrow gap is the end of the stack.
//!
//! A wide gap is code without unwind information: nothing is known, except for the few functions that nothing calls.

use std::ops::Range;

use object::read::ReadRef;

use super::elf::Image;
use super::spans::Span;

/// Gaps below this many bytes are padding: compilers align functions to 16 bytes.
const PADDING: u32 = 16;
/// Bytes that are taken for the code at the entry point where no symbol says its size: musl's ends with its call after 22,
/// that of glibc is longer.
const ENTRY_BYTES: u32 = 22;

/// A stretch between spans; offsets from the builder's base address.
pub(super) type Gap = Range<u32>;

pub(super) fn is_padding(gap: &Gap) -> bool {
    gap.end - gap.start < PADDING
}

/// The gaps between `spans` in `0..end`, ascending.
pub(super) fn gaps(spans: &[Span], end: u32) -> impl Iterator<Item = Gap> + '_ {
    let starts = spans.iter().map(|span| span.start).chain([end]);
    let ends = [0].into_iter().chain(spans.iter().map(|span| span.end));
    ends.zip(starts).map(|(end, start)| end..start)
}

/// Functions that are the outermost frame of every stack they are on, and for which C libraries and compilers often leave
/// no unwind information:
///
/// - `_start` (the entry point) has no caller, and what runs between it and `main` calls nothing else: glibc's and musl's
///   `__libc_start_main`, musl's `_start_c` and `libc_start_main_stage2`. A stack that ends there lacks at most those frames.
/// - `main` of a program, for which rustc generates a shim without unwind information under `panic = "abort"`.
/// - musl's `__clone` calls a new thread's first function on a stack of its own; in the calling thread it calls nothing.
///
/// Elsewhere a name proves nothing, so these hold only in gaps, and `main` only in a program.
pub(super) fn outermost<'a, R: ReadRef<'a>>(image: &Image<'a, '_, R>, base: u64, gaps: &[Gap]) -> Vec<Range<u32>> {
    let gap_of = |address: u64| {
        let offset = u32::try_from(address.checked_sub(base)?).ok()?;
        let gap = gaps.get(gaps.partition_point(|gap| gap.end <= offset))?;
        (gap.start <= offset).then_some((offset, gap.end))
    };
    let mut found = Vec::new();
    if let Some((start, end)) = image.entry.and_then(gap_of) {
        found.push(start..end.min(start.saturating_add(ENTRY_BYTES)));
    }
    if !gaps.is_empty() {
        image.function_symbols(
            |address| gap_of(address).is_some(),
            |name, range| {
                let root = match name {
                    b"_start" | b"_start_c" | b"__libc_start_main" | b"libc_start_main_stage2" | b"__clone" => true,
                    b"main" => image.entry.is_some(),
                    _ => false,
                };
                if let Some((start, end)) = gap_of(range.start).filter(|_| root) {
                    let size = u32::try_from(range.end - range.start).unwrap_or(u32::MAX);
                    found.push(start..end.min(start.saturating_add(size)));
                }
            },
        );
    }
    found.sort_unstable_by_key(|range| range.start);
    found
}

#[cfg(test)]
mod tests {
    use super::super::spans::Source;
    use super::*;

    #[test]
    fn between_before_and_behind_spans() {
        let spans =
            [(10, 20), (20, 30), (35, 40)].map(|(start, end)| Span { start, end, fde: 0, source: Source::EhFrame });
        let found: Vec<_> = gaps(&spans, 100).filter(|gap| !gap.is_empty()).collect();
        assert_eq!(found, [0..10, 30..35, 40..100]);
        assert!(is_padding(&found[1]) && !is_padding(&found[2]));
        assert_eq!(gaps(&[], 7).next(), Some(0..7));
    }
}
