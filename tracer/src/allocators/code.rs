//! Machine code of a module: executable bytes by ELF virtual address, decoded on demand.

use std::{collections::BTreeSet, ops::Range};

use iced_x86::{Decoder, DecoderOptions, Instruction};

/// Executable segments of a module.
#[derive(Clone, Debug, Default)]
pub struct Code<'data> {
    segments: Vec<Segment<'data>>,
}

/// An executable segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'data> {
    /// ELF virtual address of the first byte.
    pub address: u64,
    /// Where the first byte is in the file.
    pub file_offset: u64,
    /// The bytes that are in the file.
    pub bytes: &'data [u8],
}

impl<'data> Code<'data> {
    /// Code of these segments. Those that reach into the upper half of the address space, where no process has code, are
    /// left out: below it no address arithmetic wraps.
    pub fn new(mut segments: Vec<Segment<'data>>) -> Self {
        let in_lower_half = |segment: &Segment<'_>| {
            segment.address.checked_add(segment.bytes.len() as u64).is_some_and(|end| end <= 1 << 63)
        };
        segments.retain(in_lower_half);
        Self { segments }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    fn segment(&self, address: u64) -> Option<(&Segment<'data>, usize)> {
        self.segments.iter().find_map(|segment| {
            let offset = usize::try_from(address.checked_sub(segment.address)?).ok()?;
            (offset < segment.bytes.len()).then_some((segment, offset))
        })
    }

    /// ELF virtual addresses of each executable segment.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.segments.iter().map(|segment| segment.address..segment.address + segment.bytes.len() as u64)
    }

    /// Where the byte at an ELF virtual address is in the file; `None` outside executable segments.
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        let (segment, offset) = self.segment(address)?;
        segment.file_offset.checked_add(offset as u64)
    }

    /// The bytes from an ELF virtual address to the end of its segment; empty outside.
    pub fn bytes(&self, address: u64) -> &'data [u8] {
        self.segment(address).and_then(|(segment, offset)| segment.bytes.get(offset..)).unwrap_or_default()
    }

    /// Decodes one instruction; `None` outside executable segments and for bytes that are none.
    pub fn instruction(&self, address: u64) -> Option<Instruction> {
        // An x86 instruction has at most 15 bytes.
        let bytes = self.bytes(address);
        let mut decoder = Decoder::with_ip(64, bytes.get(..15.min(bytes.len()))?, address, DecoderOptions::NONE);
        let instruction = decoder.decode();
        (!instruction.is_invalid()).then_some(instruction)
    }

    /// Targets of all branches with a 32-bit displacement, from anywhere in the module, that lie in one of the stretches of
    /// `length` bytes that begin at `starts`.
    ///
    /// Such a branch is `e8`, `e9` or `0f 80`..`0f 8f` and a displacement. The scan takes every byte for the possible begin
    /// of one, so that it needs no instruction boundaries: it can only report too much, and hardly does (a false target
    /// must hit a stretch of a few bytes out of 2^32). Branches with an 8-bit displacement do not leave the section in which
    /// the assembler put them; those of the function itself are found by decoding it.
    pub fn far_branch_targets(&self, mut starts: Vec<u64>, length: u64) -> BTreeSet<u64> {
        let mut targets = BTreeSet::new();
        starts.sort_unstable();
        let (Some(&low), Some(&last)) = (starts.first(), starts.last()) else { return targets };
        let span = (last - low).saturating_add(length);
        for segment in &self.segments {
            for (index, window) in segment.bytes.windows(6).enumerate() {
                let &[first, second, b2, b3, b4, b5] = window else { continue };
                let (displacement, length) = match first {
                    0xe8 | 0xe9 => ([second, b2, b3, b4], 5),
                    0x0f if second & 0xf0 == 0x80 => ([b2, b3, b4, b5], 6),
                    _ => continue,
                };
                let next = segment.address.wrapping_add(index as u64 + length);
                let target = next.wrapping_add_signed(i64::from(i32::from_le_bytes(displacement)));
                if target.wrapping_sub(low) < span {
                    // The last stretch that begins before it: all are of one length.
                    let start = starts.partition_point(|start| *start <= target).checked_sub(1);
                    if start.and_then(|index| starts.get(index)).is_some_and(|start| target - start < length) {
                        targets.insert(target);
                    }
                }
            }
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(bytes: &[u8]) -> Code<'_> {
        Code::new(vec![Segment { address: 0x1000, file_offset: 0x200, bytes }])
    }

    #[test]
    fn addresses_outside_are_nothing() {
        let code = code(&[0x90, 0xc3]);
        assert_eq!(code.file_offset(0x1001), Some(0x201));
        assert_eq!(code.file_offset(0x1002), None);
        assert_eq!(code.file_offset(0xfff), None);
        assert_eq!(code.bytes(0x2000), &[] as &[u8]);
        assert!(code.instruction(u64::MAX).is_none());
    }

    #[test]
    fn cut_and_invalid_instructions_are_none() {
        // A jump whose displacement is cut off; an opcode that does not exist in 64-bit mode.
        assert!(code(&[0xe9, 0x00]).instruction(0x1000).is_none());
        assert!(code(&[0x06]).instruction(0x1000).is_none());
    }

    #[test]
    fn far_branches_are_found_at_any_alignment() {
        // jmp 0x1002 from 0x1003; jne 0x1001 from 0x1009; call 0x1000, which no range contains.
        let mut bytes = vec![0x90; 3];
        bytes.extend([0xe9, 0xfa, 0xff, 0xff, 0xff]);
        bytes.push(0x90);
        bytes.extend([0x0f, 0x85, 0xf2, 0xff, 0xff, 0xff]);
        bytes.extend([0xe8, 0xec, 0xff, 0xff, 0xff]);
        bytes.push(0x90);
        let targets = code(&bytes).far_branch_targets(vec![0x5000, 0x1001], 2);
        assert_eq!(targets.into_iter().collect::<Vec<_>>(), [0x1001, 0x1002]);
        assert!(code(&bytes).far_branch_targets(vec![], 2).is_empty());
    }
}
