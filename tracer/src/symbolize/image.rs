//! A clean copy of what symbolization needs of an ELF file: a trusted symbol table and the DWARF sections, uncompressed,
//! in memory that nobody else can change.
//!
//! The reader of DWARF maps its file into memory and follows whatever links the file holds. The target could truncate its
//! file under the reader (SIGBUS), name a pipe as its debug file, or announce a section of 2^60 bytes. In the image there is
//! nothing of that.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use object::LittleEndian as LE;
use object::elf::{self, SectionHeader64};
use object::read::elf::SectionHeader;
use object::read::{CompressedFileRange, CompressionFormat};
use rustix::fs::{MemfdFlags, memfd_create};
use xz2::read::XzDecoder;

use super::symbols::{Symbol, Symbols};
use super::unresolved::Failure;
use crate::target::elf::{ElfFacts, ElfReader, Sections, reader};
use crate::target::identity::printable;

/// An image is at most this large; DWARF beyond it is left out.
pub const MAX_IMAGE: u64 = 4 << 30;
/// The embedded symbol table (`.gnu_debugdata`) unpacks to at most this.
const MAX_EMBEDDED: u64 = 256 << 20;
/// All names together are at most this long.
const MAX_STRINGS: u32 = 1 << 30;

/// The DWARF sections that names and lines come from.
const DWARF: [&str; 10] = [
    ".debug_abbrev",
    ".debug_addr",
    ".debug_aranges",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str",
    ".debug_str_offsets",
];

/// See the module.
#[derive(Debug)]
pub struct Image {
    file: File,
    /// Symbols of all functions, not only of exported ones.
    pub complete: bool,
    /// DWARF is in it; or why it is not, though the file has some.
    pub debug_info: Result<bool, Failure>,
}

impl Image {
    /// Makes the image of `program`, with the symbols and the DWARF of its separate debug file if it has one, and the
    /// file that dwz(1) made for that.
    ///
    /// # Errors
    /// When no image can be made at all. Senseless parts are left out.
    pub fn new(
        program: &File,
        debug: Option<&File>,
        supplementary: Option<&Supplementary>,
        dwarf: bool,
    ) -> Result<Self, Failure> {
        let program_data = reader(program);
        let debug_data = debug.map(reader);
        let sections = Sections::read(&program_data).unwrap_or_default();
        let debug_sections = debug_data.as_ref().and_then(Sections::read);
        let embedded = embedded(&program_data, sections);

        let mut symbols = Symbols::default();
        symbols.add(&program_data, sections);
        if let (Some(data), Some(sections)) = (&debug_data, debug_sections) {
            symbols.add(data, sections);
        }
        if let Some((data, sections)) = embedded.as_deref().and_then(|data| Some((data, Sections::read(data)?))) {
            symbols.add(data, sections);
        }
        let complete = symbols.complete;
        let code = code(&program_data, sections);

        let mut writer = Writer::new().map_err(|_| Failure::NotStarted)?;
        writer.symbols(&symbols.disjoint(&code)).map_err(|_| Failure::TooLarge)?;
        let mut debug_info = Ok(false);
        if dwarf {
            let own = (program, &program_data, sections);
            let separate = debug.zip(debug_data.as_ref()).zip(debug_sections);
            let source = separate.map_or(own, |((file, data), sections)| (file, data, sections));
            let source = if source.2.find(".debug_info").is_some() { source } else { own };
            if source.2.find(".debug_info").is_some() {
                debug_info = writer.dwarf(source.0, source.1, source.2).map(|()| true);
                if let Some(supplementary) = supplementary {
                    writer.link(supplementary).map_err(|_| Failure::TooLarge)?;
                }
            }
        }
        let file = writer.finish().map_err(|_| Failure::TooLarge)?;
        Ok(Self { file, complete, debug_info })
    }

    /// A path to the image, for this process only.
    pub fn path(&self) -> PathBuf {
        path_of(&self.file)
    }
}

/// The image of a file that dwz(1) made, and its build id.
#[derive(Debug)]
pub struct Supplementary {
    file: File,
    build_id: Vec<u8>,
}

impl Supplementary {
    /// Makes the image.
    ///
    /// # Errors
    /// When it is too large or makes no sense.
    pub fn new(file: &File, build_id: &[u8]) -> Result<Self, Failure> {
        let data = reader(file);
        let sections = Sections::read(&data).ok_or(Failure::Malformed)?;
        let mut writer = Writer::new().map_err(|_| Failure::NotStarted)?;
        writer.dwarf(file, &data, sections)?;
        // Note header: name size, description size, type.
        let mut note = Vec::new();
        for word in [4, u32::try_from(build_id.len()).map_err(|_| Failure::Malformed)?, elf::NT_GNU_BUILD_ID.0] {
            note.extend_from_slice(&word.to_le_bytes());
        }
        note.extend_from_slice(b"GNU\0");
        note.extend_from_slice(build_id);
        writer.section(".note.gnu.build-id", elf::SHT_NOTE.0, 0, 0, &note).map_err(|_| Failure::TooLarge)?;
        let file = writer.finish().map_err(|_| Failure::TooLarge)?;
        Ok(Self { file, build_id: build_id.to_vec() })
    }
}

fn path_of(file: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

/// The executable sections, or the executable segments of a file without section headers; sorted.
fn code(data: &ElfReader<'_>, sections: Sections<'_>) -> Vec<Range<u64>> {
    let executable = elf::SHF_ALLOC.0 | elf::SHF_EXECINSTR.0;
    let sections = sections.headers().iter().filter(|header| header.sh_flags(LE).0 & executable == executable);
    let mut code: Vec<_> = sections.map(|header| range(header.sh_addr(LE), header.sh_size(LE))).collect();
    if code.is_empty() {
        let segments = ElfFacts::read(data).map(|facts| facts.segments).unwrap_or_default();
        let segments = segments.iter().filter(|segment| segment.executable);
        code.extend(segments.map(|segment| range(segment.address, segment.file_size)));
    }
    code.sort_unstable_by_key(|range| range.start);
    code
}

fn range(start: u64, size: u64) -> Range<u64> {
    start..start.saturating_add(size)
}

/// Fedora and others leave the symbol table in stripped files, compressed: "MiniDebugInfo" in GDB's manual.
fn embedded(data: &ElfReader<'_>, sections: Sections<'_>) -> Option<Vec<u8>> {
    let packed = sections.find(".gnu_debugdata")?.data(LE, data).ok()?;
    let mut unpacked = Vec::new();
    XzDecoder::new(packed).take(MAX_EMBEDDED + 1).read_to_end(&mut unpacked).ok()?;
    (unpacked.len() as u64 <= MAX_EMBEDDED).then_some(unpacked)
}

/// Writes an ELF file section by section.
struct Writer {
    file: File,
    position: u64,
    headers: Vec<u8>,
    names: Vec<u8>,
}

const FILE_HEADER_SIZE: u64 = 64;
const SECTION_HEADER_SIZE: usize = 64;

impl Writer {
    fn new() -> io::Result<Self> {
        let file = File::from(memfd_create("symbols", MemfdFlags::CLOEXEC)?);
        Ok(Self { file, position: FILE_HEADER_SIZE, headers: vec![0; SECTION_HEADER_SIZE], names: vec![0] })
    }

    fn symbols(&mut self, symbols: &[Symbol<'_>]) -> io::Result<()> {
        let mut strings = vec![0];
        let mut table = vec![0; 24];
        for symbol in symbols {
            // Many symbols may share one long name in the file; here each has its own.
            let name = u32::try_from(strings.len()).ok().filter(|&length| length < MAX_STRINGS);
            let name = name.ok_or(io::ErrorKind::FileTooLarge)?;
            let text = match std::str::from_utf8(symbol.name) {
                Ok(text) if !text.contains(char::is_control) => Cow::Borrowed(symbol.name),
                _ => Cow::Owned(printable(symbol.name).into_bytes()),
            };
            strings.extend_from_slice(&text);
            strings.push(0);
            table.extend_from_slice(&name.to_le_bytes());
            table.extend_from_slice(&[elf::STB_GLOBAL.0 << 4 | elf::STT_FUNC.0, 0]);
            table.extend_from_slice(&elf::SHN_ABS.0.to_le_bytes());
            table.extend_from_slice(&symbol.start.to_le_bytes());
            table.extend_from_slice(&(symbol.end - symbol.start).to_le_bytes());
        }
        self.section(".strtab", elf::SHT_STRTAB.0, 0, 0, &strings)?;
        self.section(".symtab", elf::SHT_SYMTAB.0, 1, 24, &table)
    }

    /// Copies the DWARF sections, unpacked.
    fn dwarf(&mut self, file: &File, data: &ElfReader<'_>, sections: Sections<'_>) -> Result<(), Failure> {
        for name in DWARF {
            let Some(section) = sections.find(name) else { continue };
            let Some((offset, size)) = section.file_range(LE) else { continue };
            if let Some(packed) = compression(section, data)? {
                if self.position.saturating_add(packed.uncompressed_size) > MAX_IMAGE {
                    return Err(Failure::TooLarge);
                }
                let unpacked = packed.data(data).and_then(|packed| packed.decompress());
                let unpacked = unpacked.map_err(|_| Failure::Malformed)?;
                self.section(name, elf::SHT_PROGBITS.0, 0, 0, &unpacked).map_err(|_| Failure::TooLarge)?;
            } else {
                self.header(name, elf::SHT_PROGBITS.0, 0, 0, size).map_err(|_| Failure::TooLarge)?;
                self.copy(file, offset, size)?;
            }
        }
        Ok(())
    }

    /// The reader finds the supplementary file through a path, which here leads to its image.
    fn link(&mut self, supplementary: &Supplementary) -> io::Result<()> {
        let mut link = path_of(&supplementary.file).into_os_string().into_encoded_bytes();
        link.push(0);
        link.extend_from_slice(&supplementary.build_id);
        self.section(".gnu_debugaltlink", elf::SHT_PROGBITS.0, 0, 0, &link)
    }

    fn copy(&mut self, file: &File, mut offset: u64, mut size: u64) -> Result<(), Failure> {
        let mut buffer = vec![0; 1 << 20];
        while size > 0 {
            let wanted = usize::try_from(size).unwrap_or(usize::MAX).min(buffer.len());
            file.read_exact_at(&mut buffer[..wanted], offset).map_err(|_| Failure::Malformed)?;
            self.file.write_all_at(&buffer[..wanted], self.position).map_err(|_| Failure::TooLarge)?;
            offset += wanted as u64;
            self.position += wanted as u64;
            size -= wanted as u64;
        }
        Ok(())
    }

    fn section(&mut self, name: &str, kind: u32, link: u32, entry_size: u64, data: &[u8]) -> io::Result<()> {
        self.header(name, kind, link, entry_size, data.len() as u64)?;
        self.file.write_all_at(data, self.position)?;
        self.position += data.len() as u64;
        Ok(())
    }

    /// Adds the header of the section whose data is written next.
    fn header(&mut self, name: &str, kind: u32, link: u32, entry_size: u64, size: u64) -> io::Result<()> {
        self.position = self.position.next_multiple_of(8);
        if self.position.saturating_add(size) > MAX_IMAGE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let at = u32::try_from(self.names.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.names.extend_from_slice(name.as_bytes());
        self.names.push(0);
        self.headers.extend_from_slice(&at.to_le_bytes());
        self.headers.extend_from_slice(&kind.to_le_bytes());
        // Flags and address are 0.
        for word in [0, 0, self.position, size] {
            self.headers.extend_from_slice(&word.to_le_bytes());
        }
        self.headers.extend_from_slice(&link.to_le_bytes());
        self.headers.extend_from_slice(&0_u32.to_le_bytes());
        self.headers.extend_from_slice(&8_u64.to_le_bytes());
        self.headers.extend_from_slice(&entry_size.to_le_bytes());
        Ok(())
    }

    fn finish(mut self) -> io::Result<File> {
        // The table of names holds its own name too, so its size is known only with the header.
        let size = self.names.len() + ".shstrtab\0".len();
        self.header(".shstrtab", elf::SHT_STRTAB.0, 0, 0, size as u64)?;
        self.file.write_all_at(&self.names, self.position)?;
        self.position += size as u64;
        self.position = self.position.next_multiple_of(8);
        self.file.write_all_at(&self.headers, self.position)?;
        let count = u16::try_from(self.headers.len() / SECTION_HEADER_SIZE).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut header = Vec::new();
        header.extend_from_slice(&elf::ELFMAG);
        header.extend_from_slice(&[
            elf::ELFCLASS64.0,
            elf::ELFDATA2LSB.0,
            elf::EV_CURRENT.0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ]);
        for half in [elf::ET_DYN.0, elf::EM_X86_64.0] {
            header.extend_from_slice(&half.to_le_bytes());
        }
        header.extend_from_slice(&1_u32.to_le_bytes());
        // Entry point, program headers, section headers, flags.
        for word in [0, 0, self.position] {
            header.extend_from_slice(&word.to_le_bytes());
        }
        header.extend_from_slice(&0_u32.to_le_bytes());
        for half in [64, 56, 0, 64, count, count - 1] {
            header.extend_from_slice(&u16::to_le_bytes(half));
        }
        self.file.write_all_at(&header, 0)?;
        Ok(self.file)
    }
}

/// Where the packed data of a section is; `None` when it is not packed.
fn compression(section: &SectionHeader64<LE>, data: &ElfReader<'_>) -> Result<Option<CompressedFileRange>, Failure> {
    let Some((header, offset, compressed_size)) = section.compression(LE, data).map_err(|_| Failure::Malformed)? else {
        return Ok(None);
    };
    let format = match header.ch_type.get(LE) {
        elf::ELFCOMPRESS_ZLIB => CompressionFormat::Zlib,
        elf::ELFCOMPRESS_ZSTD => CompressionFormat::Zstandard,
        _ => return Err(Failure::Malformed),
    };
    Ok(Some(CompressedFileRange { format, offset, compressed_size, uncompressed_size: header.ch_size.get(LE) }))
}
