//! The few facts of an ELF file that attaching needs, read from a file that may lie.
//!
//! Only 64-bit little-endian files are read. Tables beyond the limits here are treated as absent: no toolchain comes near
//! them, and each would otherwise let a file choose how much tracer reads.

mod pieces;

use std::fmt;

use object::LittleEndian as LE;
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::read::ReadRef;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use thiserror::Error;

pub use pieces::{ElfReader, reader};

const MAX_SEGMENTS: u32 = 4096;
const MAX_SECTIONS: u32 = 1 << 16;
const MAX_SECTION_NAMES: u64 = 1 << 20;
const MAX_NOTES: u64 = 1 << 16;

/// What names the contents of an ELF file: the note `.note.gnu.build-id`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BuildId(Box<[u8]>);

impl BuildId {
    /// A build id of these bytes; `None` where they are too few to name anything, or absurdly many.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (8..=64).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// The bytes; 8 to 64.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({self})")
    }
}

/// A loadable segment (`PT_LOAD`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// ELF virtual address.
    pub address: u64,
    /// File offset of `address`.
    pub file_offset: u64,
    /// Bytes in the file.
    pub file_size: u64,
    /// May be executed.
    pub executable: bool,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElfFacts {
    /// See [`BuildId`].
    pub build_id: Option<BuildId>,
    /// Loadable segments, as the file orders them.
    pub segments: Vec<Segment>,
    /// Has the Go runtime's function table (`.gopclntab`): Go keeps frame pointers and has its own stack switches.
    pub is_go: bool,
    /// Has DWARF (`.debug_info`) itself; a separate debug file may exist besides.
    pub has_debug_info: bool,
}

/// Why a file is not read as ELF.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ElfError {
    /// Some other file.
    #[error("not an ELF file")]
    NotElf,
    /// 32-bit or big-endian.
    #[error("not a 64-bit little-endian ELF file")]
    Unsupported,
    /// A header contradicts the file.
    #[error("malformed ELF file")]
    Malformed,
}

impl ElfFacts {
    /// Reads the facts.
    ///
    /// # Errors
    /// When it is no ELF file that tracer can use. Missing or senseless section headers are no error.
    pub fn read<'data>(data: impl ReadRef<'data>) -> Result<Self, ElfError> {
        let header = file_header(data)?;
        if header.phnum(LE, data).map_err(|_| ElfError::Malformed)? > MAX_SEGMENTS {
            return Err(ElfError::Malformed);
        }
        let headers = header.program_headers(LE, data).map_err(|_| ElfError::Malformed)?;
        let sections = Sections::read(data).unwrap_or_default();
        Ok(Self {
            build_id: headers.iter().find_map(|header| build_id(header, data)),
            segments: headers
                .iter()
                .filter(|header| header.p_type(LE) == elf::PT_LOAD)
                .map(|header| Segment {
                    address: header.p_vaddr(LE),
                    file_offset: header.p_offset(LE),
                    file_size: header.p_filesz(LE),
                    executable: header.p_flags(LE).0 & elf::PF_X.0 != 0,
                })
                .collect(),
            is_go: sections.find(".gopclntab").is_some(),
            has_debug_info: sections.find(".debug_info").is_some(),
        })
    }

    /// The bias of a mapping: ELF virtual address = process address - bias (wrapping).
    ///
    /// The loader maps whole pages (`elf_map` in `fs/binfmt_elf.c`, `_dl_map_segments` in glibc), so a mapping may begin
    /// before its segment and hold the end of the one before. The segment that fills most of the mapping is meant, an
    /// executable one if there is any.
    pub fn bias(&self, start: u64, end: u64, file_offset: u64) -> Option<u64> {
        let mapped = file_offset..file_offset.saturating_add(end.saturating_sub(start));
        let overlap = |segment: &Segment| {
            let end = segment.file_offset.saturating_add(segment.file_size).min(mapped.end);
            end.saturating_sub(segment.file_offset.max(mapped.start))
        };
        let segment = self
            .segments
            .iter()
            .filter(|segment| overlap(segment) > 0)
            .max_by_key(|segment| (segment.executable, overlap(segment)))?;
        Some(start.wrapping_sub(file_offset).wrapping_add(segment.file_offset).wrapping_sub(segment.address))
    }
}

/// The header of a 64-bit little-endian ELF file.
///
/// # Errors
/// When it is something else.
pub fn file_header<'data>(data: impl ReadRef<'data>) -> Result<&'data FileHeader64<LE>, ElfError> {
    let identity = data.read_bytes_at(0, 16).map_err(|()| ElfError::NotElf)?;
    if !identity.starts_with(&elf::ELFMAG) {
        return Err(ElfError::NotElf);
    }
    FileHeader64::<LE>::parse(data)
        .map_err(|_| ElfError::Unsupported)
        .and_then(|header| if header.is_little_endian() { Ok(header) } else { Err(ElfError::Unsupported) })
}

fn build_id<'data>(header: &ProgramHeader64<LE>, data: impl ReadRef<'data>) -> Option<BuildId> {
    if header.p_type(LE) != elf::PT_NOTE || header.p_filesz(LE) > MAX_NOTES {
        return None;
    }
    let mut notes = header.notes(LE, data).ok()??;
    while let Ok(Some(note)) = notes.next() {
        if note.n_type(LE) == elf::NT_GNU_BUILD_ID && note.name() == elf::ELF_NOTE_GNU {
            return BuildId::new(note.desc());
        }
    }
    None
}

/// The section headers of a file, with names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sections<'data> {
    headers: &'data [SectionHeader64<LE>],
    names: &'data [u8],
}

impl<'data> Sections<'data> {
    /// Reads them; `None` where they are absent or unusable.
    pub fn read(data: impl ReadRef<'data>) -> Option<Self> {
        let header = file_header(data).ok()?;
        if header.shnum(LE, data).ok()? > MAX_SECTIONS {
            return None;
        }
        let headers = header.section_headers(LE, data).ok()?;
        let names = headers.get(header.section_strings_index(LE, data).ok()?.0)?;
        if names.sh_size(LE) > MAX_SECTION_NAMES {
            return None;
        }
        Some(Self { headers, names: names.data(LE, data).ok()? })
    }

    /// The first section of this name.
    pub fn find(&self, name: &str) -> Option<&'data SectionHeader64<LE>> {
        self.headers.iter().find(|header| {
            let at = usize::try_from(header.sh_name(LE)).ok().and_then(|at| self.names.get(at..));
            at.and_then(|at| at.strip_prefix(name.as_bytes())).is_some_and(|rest| rest.first() == Some(&0))
        })
    }

    /// All of them.
    pub fn headers(&self) -> &'data [SectionHeader64<LE>] {
        self.headers
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use proptest::prelude::*;

    use super::*;

    fn segment(address: u64, file_offset: u64, file_size: u64, executable: bool) -> Segment {
        Segment { address, file_offset, file_size, executable }
    }

    #[test]
    fn bias_of_a_usual_layout() {
        // ld: the text segment begins in the middle of no page; lld: it shares its first page with the segment before.
        let facts = ElfFacts {
            segments: vec![
                segment(0, 0, 0x1234, false),
                segment(0x2234, 0x1234, 0x5000, true),
                segment(0x8234, 0x6234, 0x100, false),
            ],
            ..ElfFacts::default()
        };
        // Pages 1 to 6 of the file at 0x7f0000001000: address 0x2234 of the ELF file stands at 0x7f0000001234.
        assert_eq!(facts.bias(0x7f00_0000_1000, 0x7f00_0000_7000, 0x1000), Some(0x7f00_0000_1234 - 0x2234));
        assert_eq!(facts.bias(0x1000, 0x2000, 0x7000), None);
        assert_eq!(facts.bias(0x1000, 0x2000, u64::MAX), None);
    }

    #[test]
    fn own_executable_has_the_bias_of_its_symbols() {
        let address = own_executable_has_the_bias_of_its_symbols as fn() as usize as u64;
        let file = File::open("/proc/self/exe").unwrap();
        let facts = ElfFacts::read(&reader(&file)).unwrap();
        assert!(facts.has_debug_info && !facts.is_go);
        let mappings = super::super::mappings::Mappings::read(std::process::id()).unwrap();
        let entry = mappings.executable.iter().find(|entry| (entry.start..entry.end).contains(&address)).unwrap();
        let bias = facts.bias(entry.start, entry.end, entry.file_offset).unwrap();
        let executable = std::env::current_exe().unwrap();
        let symbols = std::process::Command::new("nm").arg(executable).output().unwrap();
        let line = format!("{:016x} ", address - bias);
        let text = String::from_utf8(symbols.stdout).unwrap();
        let symbol = text.lines().find(|symbol| symbol.starts_with(&line)).unwrap();
        assert!(symbol.contains("own_executable_has_the_bias"), "{symbol}");
    }

    #[test]
    fn other_files_are_named() {
        assert_eq!(ElfFacts::read(&b"#!/bin/sh\n#                  "[..]), Err(ElfError::NotElf));
        assert_eq!(ElfFacts::read(&b""[..]), Err(ElfError::NotElf));
        assert_eq!(ElfFacts::read(&b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\0\0"[..]), Err(ElfError::Unsupported));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(change in proptest::collection::vec((0usize..0x400, any::<u8>()), 1..40)) {
            let mut bytes = std::fs::read("/bin/true").unwrap();
            for (at, value) in change {
                bytes[at] = value;
            }
            if let Ok(facts) = ElfFacts::read(&bytes[..]) {
                facts.bias(0x1000, u64::MAX, 0);
                facts.bias(u64::MAX - 0x1000, u64::MAX, u64::MAX);
            }
        }
    }
}
