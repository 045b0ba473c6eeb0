//! Text that no entry describes.
//!
//! A gap of a few bytes is padding between functions. A return address never points behind padding, but the start of a
//! coroutine does: `makecontext` and its like put the address of a trampoline's first byte where a return address belongs,
//! and the walk looks up the byte before it. So a narrow gap is the end of the stack.
//!
//! A wide gap is code without unwind information: nothing is known, except for the few functions that nothing calls.

use std::ops::Range;

use object::read::ReadRef;
use tracer_ebpf::abi::unwind::RuleKind;

use super::elf::Image;
use super::spans::Span;

/// Gaps below this many bytes are padding: compilers align functions to 16 bytes.
const PADDING: u32 = 16;
/// Bytes that are taken for the code at the entry point where no symbol says its size: musl's ends with its call after 22,
/// that of glibc is longer.
const ENTRY_BYTES: u32 = 22;
/// `mov $15, %rax; syscall`, the return from a signal handler (`rt_sigreturn`). Every unwinder knows it by these bytes (libgcc:
/// `libgcc/config/i386/linux-unwind.h`).
const SIGNAL_RETURN: [u8; 9] = [0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05];

/// What V8 exports where it is not alone in a program or library (node), stripped or not:
/// `v8::internal::Isolate::embedded_blob_code() const`.
const V8: &[u8] = b"_ZNK2v88internal7Isolate18embedded_blob_codeEv";
/// V8's builtins have more bytes than this: 1.6 MiB in node 20.
const V8_BUILTINS: u32 = 512 << 10;

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

/// What is known of wide gaps by other means than unwind information.
#[derive(Debug, Default)]
pub(super) struct KnownCode {
    /// Functions and the rule that holds in all of each, ascending; they may overlap. [`RuleKind::End`]: they are the outermost
    /// frame of every stack they are on.
    pub(super) functions: Vec<(Range<u32>, RuleKind)>,
    /// Gaps whose code keeps frame pointers, ascending.
    pub(super) frame_pointer: Vec<Gap>,
}

impl KnownCode {
    /// Finds what C libraries, compilers and language run-times leave without unwind information although every stack of a
    /// program may run over it:
    ///
    /// - `_start` (the entry point) has no caller, and what runs between it and `main` calls nothing else: glibc's and
    ///   musl's `__libc_start_main`, musl's `_start_c` and `libc_start_main_stage2`. A stack that ends there lacks at most
    ///   those frames.
    /// - `main` of a program: rustc generates it without unwind information under `panic = "abort"`.
    /// - musl's `__clone` calls a new thread's first function, `start`, on a stack of its own; in the calling thread it calls
    ///   nothing. (A program linked to musl dynamically has no symbols for these. Its threads' stacks end without
    ///   information.)
    /// - musl's `__restore_rt`, to which signal handlers return, is known by its bytes. Nothing calls it: its address stands where
    ///   a return address belongs, and the walk looks up the byte before it, which musl made a `nop` for this reason.
    /// - V8's builtins (Node.js, Chrome) are compiled by V8 itself, which always keeps frame pointers. They are one stretch of
    ///   text, known by their symbols; in a stripped file that exports V8's functions, the widest gap.
    /// - The Go code of a Go program, which always keeps frame pointers: the widest gap.
    ///
    /// A name proves nothing elsewhere, so these count only in gaps, and `main` only in a program. `gaps` are ascending.
    pub(super) fn find<'a, R: ReadRef<'a>>(image: &Image<'a, '_, R>, base: u64, gaps: &[Gap]) -> Self {
        let mut known = Self::default();
        let mut outermost: Vec<Range<u32>> = Vec::new();
        let gap_of = |address: u64| {
            let offset = u32::try_from(address.checked_sub(base)?).ok()?;
            let gap = gaps.get(gaps.partition_point(|gap| gap.end <= offset))?;
            (gap.start <= offset).then_some((offset, gap))
        };
        if let Some((start, gap)) = image.entry.and_then(gap_of) {
            outermost.push(start..gap.end.min(start.saturating_add(ENTRY_BYTES)));
        }
        let (mut functions, mut musl_threads, mut musl) = (Vec::new(), Vec::new(), false);
        let wanted = |address| gap_of(address).is_some();
        image.function_symbols(wanted, |name, range| {
            let Some((start, gap)) = gap_of(range.start) else { return };
            functions.push(start);
            let size = u32::try_from(range.end - range.start).unwrap_or(u32::MAX);
            let function = start..gap.end.min(start.saturating_add(size));
            match name {
                b"_start" | b"_start_c" | b"__libc_start_main" | b"libc_start_main_stage2" => outermost.push(function),
                b"main" if image.entry.is_some() => outermost.push(function),
                b"__clone" => {
                    musl = true;
                    outermost.push(function);
                }
                b"__restore_rt" if image.holds(range.start, SIGNAL_RETURN) => {
                    let end = gap.end.min(start.saturating_add(SIGNAL_RETURN.len() as u32));
                    known.functions.push((start.saturating_sub(1).max(gap.start)..end, RuleKind::Signal));
                }
                b"start" | b"start_c11" => musl_threads.push(function),
                name if name.starts_with(b"Builtins_") && known.frame_pointer.last() != Some(gap) => {
                    known.frame_pointer.push(gap.clone());
                }
                _ => {}
            }
        });
        if musl {
            outermost.append(&mut musl_threads);
        }
        functions.sort_unstable();
        for function in outermost.iter_mut().filter(|function| function.start >= function.end) {
            let next = functions.get(functions.partition_point(|&start| start <= function.start));
            let gap_end = gap_of(base + u64::from(function.start)).map_or(function.start, |(_, gap)| gap.end);
            function.end = next.map_or(gap_end, |&next| next.min(gap_end));
        }
        let widest = gaps.iter().max_by_key(|gap| gap.end - gap.start);
        let is_v8 = |gap: &&Gap| gap.end - gap.start >= V8_BUILTINS && image.has_dynamic_name(V8);
        if image.go {
            known.frame_pointer.extend(widest.cloned());
        } else if known.frame_pointer.is_empty() {
            known.frame_pointer.extend(widest.filter(is_v8).cloned());
        }
        known.functions.extend(outermost.into_iter().map(|range| (range, RuleKind::End)));
        known.functions.sort_unstable_by_key(|(range, _)| range.start);
        known.frame_pointer.sort_unstable_by_key(|gap| gap.start);
        known.frame_pointer.dedup();
        known
    }
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
