//! What the builder needs of an ELF file: text, unwind sections, entry point, symbols of text.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;

use gimli::{BaseAddresses, EhFrame, EhFrameHdr};
use object::LittleEndian as LE;
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64, Sym64};
use object::read::elf::{CompressionHeader, Dyn, FileHeader, ProgramHeader, SectionHeader, Sym};
use object::read::{CompressedData, CompressionFormat, ReadRef};
use tracer_ebpf::abi::unwind::PAGE_SIZE;

use super::BuildError;
use super::bounded::Bounded;

/// Bytes read from one file at most; the largest measured needs 20 MiB.
const MAX_READ: u64 = 1 << 30;
/// Largest of all parts but unwind sections and symbol tables.
const MAX_PART: u64 = 8 << 20;
/// Largest unwind section, as stored and as decompressed. The largest measured has 8 MiB.
const MAX_UNWIND_SECTION: u64 = 256 << 20;
/// Largest symbol table.
const MAX_SYMBOL_TABLE: u64 = 128 << 20;
/// Program headers, and section headers, at most; a linked file has some dozens.
const MAX_HEADERS: u32 = 1 << 16;
/// Symbol names read at most.
const MAX_NAMES: usize = 1 << 16;
/// Addresses between the first and the last byte of text at most: offsets in the text are 32-bit numbers.
pub(super) const MAX_TEXT_SPAN: u64 = u32::MAX as u64 & !(PAGE_SIZE - 1);

/// An unwind section's bytes.
pub(super) struct UnwindSection<'a> {
    pub(super) data: Cow<'a, [u8]>,
    pub(super) bases: BaseAddresses,
}

/// A parsed ELF file. All addresses are ELF virtual addresses.
pub(super) struct Image<'a, 'b, R> {
    data: Bounded<'b, R>,
    sections: &'a [SectionHeader64<LE>],
    /// Executable segments: sorted, apart from each other, and with bytes in the file.
    pub(super) text: Vec<Range<u64>>,
    /// Executable sections, sorted, within `text`; `text` itself where there are no section headers.
    pub(super) code: Vec<Range<u64>>,
    pub(super) eh_frame: Option<UnwindSection<'a>>,
    pub(super) debug_frame: Option<UnwindSection<'a>>,
    /// Where the program starts; `None` for a library.
    pub(super) entry: Option<u64>,
    /// Made by the Go toolchain.
    pub(super) go: bool,
}

impl<'a, 'b, R: ReadRef<'a>> Image<'a, 'b, R> {
    /// Reads headers and unwind sections. `left` holds the read limit.
    pub(super) fn parse(data: R, left: &'b Cell<u64>) -> Result<Self, BuildError> {
        left.set(MAX_READ);
        let data = Bounded::new(data, left);
        let header = FileHeader64::<LE>::parse(data)?;
        let machine = header.e_machine(LE);
        if !header.is_little_endian() || machine != elf::EM_X86_64 {
            return Err(BuildError::Machine(machine.0));
        }
        if header.phnum(LE, data)? > MAX_HEADERS {
            return Err(BuildError::Headers);
        }
        let segments = header.program_headers(LE, data)?;
        // Section headers are for debuggers; the loader ignores them, so a file runs with broken ones.
        let sections = match header.shnum(LE, data) {
            Ok(..=MAX_HEADERS) => header.section_headers(LE, data).unwrap_or_default(),
            _ => &[],
        };
        let names = header.section_strings_index(LE, data).ok().and_then(|index| sections.get(index.0));
        let names = names.filter(|section| section.sh_size(LE) <= MAX_PART);
        let names = names.and_then(|section| section.data(LE, data).ok()).unwrap_or_default();

        let text = executable_segments(segments, data.len().unwrap_or_default());
        if let (Some(first), Some(last)) = (text.first(), text.last()) {
            let span = last.end - (first.start & !(PAGE_SIZE - 1));
            if span > MAX_TEXT_SPAN {
                return Err(BuildError::TextSpan(span));
            }
        }

        let mut image = Self {
            data,
            sections,
            code: code_sections(sections, &text),
            text,
            eh_frame: None,
            debug_frame: None,
            entry: None,
            go: false,
        };
        let program = header.e_type(LE) == elf::ET_EXEC || segments.iter().any(|segment| is_program(segment, data));
        image.entry = Some(header.e_entry(LE)).filter(|&entry| entry != 0 && program);
        image.read_sections(names)?;
        if image.eh_frame.is_none() {
            image.eh_frame = image.eh_frame_of_segments(segments);
        }
        Ok(image)
    }

    fn read_sections(&mut self, names: &[u8]) -> Result<(), BuildError> {
        let mut bases = BaseAddresses::default();
        let (mut eh_frame, mut debug_frame) = (None, None);
        for section in self.sections {
            match name(names, section.sh_name(LE)) {
                b".text" => bases = bases.set_text(section.sh_addr(LE)),
                b".got" => bases = bases.set_got(section.sh_addr(LE)),
                b".eh_frame" => eh_frame = Some(section),
                b".debug_frame" => debug_frame = Some(section),
                // The first is in every Go program, but a linker other than Go's joins it with others.
                b".gopclntab" | b".go.buildinfo" | b".note.go.buildid" => self.go = true,
                _ => {}
            }
        }
        if let Some(section) = eh_frame {
            let data = self.section_data(section, ".eh_frame")?;
            let bases = bases.clone().set_eh_frame(section.sh_addr(LE));
            self.eh_frame = Some(UnwindSection { data, bases }).filter(|section| !section.data.is_empty());
        }
        if let Some(section) = debug_frame {
            let data = self.section_data(section, ".debug_frame")?;
            self.debug_frame = Some(UnwindSection { data, bases }).filter(|section| !section.data.is_empty());
        }
        Ok(())
    }

    fn section_data(&self, section: &SectionHeader64<LE>, name: &'static str) -> Result<Cow<'a, [u8]>, BuildError> {
        let limit = |bytes| if bytes > MAX_UNWIND_SECTION { Err(BuildError::Section { name, bytes }) } else { Ok(()) };
        let Some((header, offset, size)) = section.compression(LE, self.data)? else {
            let size = section.file_range(LE).map_or(0, |(_, size)| size);
            limit(size)?;
            return Ok(Cow::Borrowed(section.data(LE, self.data)?));
        };
        let uncompressed_size = header.ch_size(LE);
        limit(size)?;
        limit(uncompressed_size)?;
        let format = match header.ch_type(LE) {
            elf::ELFCOMPRESS_ZLIB => CompressionFormat::Zlib,
            elf::ELFCOMPRESS_ZSTD => CompressionFormat::Zstandard,
            _ => CompressionFormat::Unknown,
        };
        let data = self.data.read_bytes_at(offset, size).map_err(|()| BuildError::Truncated { name })?;
        Ok(CompressedData { format, data, uncompressed_size }.decompress()?)
    }

    /// `.eh_frame` of a file without section headers, through the segment that the C++ run-time library itself uses.
    fn eh_frame_of_segments(&self, segments: &[ProgramHeader64<LE>]) -> Option<UnwindSection<'a>> {
        let header = segments.iter().find(|segment| segment.p_type(LE) == elf::PT_GNU_EH_FRAME)?;
        let (offset, size) = header.file_range(LE);
        // Only its first words: the rest is a search table.
        let bytes = self.data.read_bytes_at(offset, size.min(64)).ok()?;
        let bases = BaseAddresses::default().set_eh_frame_hdr(header.p_vaddr(LE));
        let parsed = EhFrameHdr::new(bytes, gimli::LittleEndian).parse(&bases, 8).ok()?;
        let address = parsed.eh_frame_ptr().direct().ok()?;
        let (skip, segment) =
            segments.iter().filter(|segment| segment.p_type(LE) == elf::PT_LOAD).find_map(|segment| {
                let skip = address.checked_sub(segment.p_vaddr(LE))?;
                (skip < segment.p_filesz(LE)).then_some((skip, segment))
            })?;
        let (offset, size) = segment.file_range(LE);
        let size = (size - skip).min(MAX_UNWIND_SECTION);
        let data = self.data.read_bytes_at(offset.checked_add(skip)?, size).ok()?;
        Some(UnwindSection { data: Cow::Borrowed(data), bases: bases.set_eh_frame(address) })
    }

    /// Whether these bytes stand at an address.
    pub(super) fn holds<const N: usize>(&self, address: u64, bytes: [u8; N]) -> bool {
        let offset_in = |section: &SectionHeader64<LE>| {
            let skip = address.checked_sub(section.sh_addr(LE))?;
            let (offset, size) = section.file_range(LE)?;
            (skip < size).then(|| offset.checked_add(skip))?
        };
        let code = self.sections.iter().filter(|section| section.sh_flags(LE).contains(elf::SHF_EXECINSTR));
        let offset = code.filter_map(offset_in).next();
        offset.is_some_and(|offset| self.data.read_bytes_at(offset, N as u64) == Ok(bytes.as_slice()))
    }

    /// Whether the names of dynamic symbols include this one.
    pub(super) fn has_dynamic_name(&self, wanted: &[u8]) -> bool {
        let symbols = self.sections.iter().find(|section| section.sh_type(LE) == elf::SHT_DYNSYM);
        let names = symbols.and_then(|symbols| self.sections.get(symbols.sh_link(LE) as usize));
        let names = names.filter(|names| names.sh_size(LE) <= MAX_PART);
        let names = names.and_then(|names| names.data(LE, self.data).ok()).unwrap_or_default();
        names.split(|&byte| byte == 0).any(|name| name == wanted)
    }

    /// Calls `found` with the name and the address range of every function symbol whose first address satisfies `wanted`.
    /// The range is empty where the symbol has no size, as is usual in assembly.
    pub(super) fn function_symbols(&self, wanted: impl Fn(u64) -> bool, mut found: impl FnMut(&[u8], Range<u64>)) {
        let table = |kind| self.sections.iter().find(|section| section.sh_type(LE) == kind);
        let Some(section) = table(elf::SHT_SYMTAB).or_else(|| table(elf::SHT_DYNSYM)) else { return };
        if section.sh_size(LE) > MAX_SYMBOL_TABLE {
            return;
        }
        let Ok(symbols) = section.data_as_array::<Sym64<LE>, _>(LE, self.data) else { return };
        let Some(strings) = self.sections.get(section.sh_link(LE) as usize) else { return };
        let Ok(Some(strings)) = strings.strings(LE, self.data) else { return };
        let symbols = symbols.iter().filter(|symbol| {
            symbol.st_type() == elf::STT_FUNC && symbol.st_shndx(LE) != elf::SHN_UNDEF && wanted(symbol.st_value(LE))
        });
        for symbol in symbols.take(MAX_NAMES) {
            let start = symbol.st_value(LE);
            if let Ok(name) = symbol.name(LE, strings) {
                found(name, start..start.saturating_add(symbol.st_size(LE)));
            }
        }
    }
}

/// `.eh_frame` as gimli reads it.
pub(super) type Bytes<'a> = gimli::EndianSlice<'a, gimli::LittleEndian>;

impl UnwindSection<'_> {
    /// A section without entries.
    pub(super) fn empty() -> Self {
        Self { data: Cow::Borrowed(&[]), bases: BaseAddresses::default() }
    }

    /// As `.eh_frame`.
    pub(super) fn as_eh_frame(&self) -> EhFrame<Bytes<'_>> {
        let mut section = EhFrame::new(&self.data, gimli::LittleEndian);
        section.set_address_size(8);
        section
    }

    /// As `.debug_frame`.
    pub(super) fn as_debug_frame(&self) -> gimli::DebugFrame<Bytes<'_>> {
        let mut section = gimli::DebugFrame::new(&self.data, gimli::LittleEndian);
        section.set_address_size(8);
        section
    }
}

/// The zero-terminated string at `offset`; empty where there is none.
fn name(strings: &[u8], offset: u32) -> &[u8] {
    let rest = strings.get(offset as usize..).unwrap_or_default();
    rest.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Whether the segment shows that its file is a program, not a library: linkers give libraries an entry point too.
fn is_program<'a>(segment: &ProgramHeader64<LE>, data: impl ReadRef<'a>) -> bool {
    let pie = |entry: &elf::Dyn64<LE>| entry.d_tag(LE) == elf::DT_FLAGS_1 && entry.d_val(LE) & elf::DF_1_PIE.0 != 0;
    match segment.p_type(LE) {
        elf::PT_INTERP => true,
        elf::PT_DYNAMIC if segment.p_filesz(LE) <= MAX_PART => {
            matches!(segment.dynamic(LE, data), Ok(Some(entries)) if entries.iter().any(pie))
        }
        _ => false,
    }
}

fn executable_segments(segments: &[ProgramHeader64<LE>], file_bytes: u64) -> Vec<Range<u64>> {
    let ranges = segments.iter().filter(|s| s.p_type(LE) == elf::PT_LOAD && s.p_flags(LE).contains(elf::PF_X));
    let ranges = ranges.map(|segment| {
        let bytes = segment.p_filesz(LE).min(file_bytes.saturating_sub(segment.p_offset(LE)));
        segment.p_vaddr(LE)..segment.p_vaddr(LE).saturating_add(bytes)
    });
    merged(ranges.collect())
}

fn code_sections(sections: &[SectionHeader64<LE>], text: &[Range<u64>]) -> Vec<Range<u64>> {
    let sections = sections.iter().filter(|section| {
        section.sh_flags(LE).contains(elf::SHF_EXECINSTR | elf::SHF_ALLOC) && section.sh_type(LE) != elf::SHT_NOBITS
    });
    let ranges = sections.filter_map(|section| {
        let (start, end) = (section.sh_addr(LE), section.sh_addr(LE).saturating_add(section.sh_size(LE)));
        let segment = text.get(text.partition_point(|segment| segment.end <= start))?;
        Some(start.max(segment.start)..end.min(segment.end))
    });
    let code = merged(ranges.collect());
    if code.is_empty() { text.to_vec() } else { code }
}

/// Sorts, joins overlapping ranges, drops empty ones.
fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.retain(|range| range.start < range.end);
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let joined = next.start <= last.end;
        if joined {
            last.end = last.end.max(next.end);
        }
        joined
    });
    ranges
}
