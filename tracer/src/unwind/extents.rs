//! Where functions begin and end: what unwind information tells of a file without symbols.

use std::cell::Cell;
use std::ops::Range;

use object::read::ReadRef;

use super::BuildError;
use super::elf::{Image, UnwindSection};
use super::evaluate::Sections;

/// Extents of the functions that `.eh_frame` and `.debug_frame` of an ELF file describe: ELF virtual addresses, sorted and
/// disjoint. Parts that the compiler moved away from a function stand for themselves; assembly may describe several functions
/// as one.
///
/// # Errors
/// As [`ModuleTable::build`](super::ModuleTable::build).
pub fn function_extents<'a>(data: impl ReadRef<'a>) -> Result<Vec<Range<u64>>, BuildError> {
    let left = Cell::new(0);
    let image = Image::parse(data, &left)?;
    let Some(first) = image.text.first() else { return Ok(Vec::new()) };
    let empty = UnwindSection::empty();
    let sections =
        Sections::new(image.eh_frame.as_ref().unwrap_or(&empty), image.debug_frame.as_ref().unwrap_or(&empty));
    let base = first.start;
    let (spans, _) = sections.spans(base, &image.text);
    let address = |offset: u32| base.saturating_add(u64::from(offset));
    Ok(spans.iter().map(|span| address(span.start)..address(span.end)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocators::assembled::build;

    /// With section headers and without: what is left is found through the program headers.
    #[test]
    fn functions_of_a_stripped_program_are_found() {
        let source = "int used(int n) { return n + 1; } int main(void) { return used(1); }";
        let whole = build("source.c", source, &["-O0"]);
        let (start, size) = whole.symbol("used");
        let mut stripped = build("source.c", source, &["-O0", "-s"]).bytes;
        // e_shoff, e_shnum, e_shstrndx.
        let bare = {
            let mut bytes = stripped.clone();
            bytes[0x28..0x30].fill(0);
            bytes[0x3c..0x40].fill(0);
            bytes
        };
        for bytes in [&whole.bytes, &stripped, &bare] {
            let extents = function_extents(bytes.as_slice()).unwrap();
            assert!(extents.contains(&(start..start + size)), "{extents:x?}");
            assert!(extents.windows(2).all(|pair| pair[0].end <= pair[1].start));
        }
        stripped.truncate(10);
        assert!(function_extents(stripped.as_slice()).is_err());
    }
}
