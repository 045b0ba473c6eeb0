//! Separate debug files: where they lie, and whether one belongs to the program.
//!
//! Two ways lead from a stripped program to its debug file: the build id, and the section `.gnu_debuglink` with a name and
//! a checksum (GDB's manual, "Debugging Information in Separate Files"). dwz(1) adds a third file that several debug files
//! share, found through `.gnu_debugaltlink`. The names are the program's, so they are looked up inside a root directory only.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use flate2::CrcReader;
use object::LittleEndian as LE;
use object::read::elf::SectionHeader;

use crate::target::elf::{self, BuildId, ElfFacts, Sections};
use crate::target::filesystem::Root;

const DEBUG_DIRECTORY: &str = "/usr/lib/debug";
/// Larger files are not checked by checksum.
const MAX_CHECKED: u64 = 4 << 30;

/// An open debug file.
#[derive(Debug)]
pub struct DebugFile {
    /// The file.
    pub file: File,
    /// Where it was found, inside its root.
    pub path: PathBuf,
}

/// The section `.gnu_debuglink`.
#[derive(Debug, PartialEq, Eq)]
pub struct DebugLink {
    name: PathBuf,
    checksum: u32,
}

impl DebugLink {
    /// Reads the section: a file name, zeros up to a multiple of four, a CRC-32.
    pub fn parse(section: &[u8]) -> Option<Self> {
        let length = section.iter().position(|&byte| byte == 0)?;
        let name = PathBuf::from(OsStr::from_bytes(section.get(..length)?));
        let checksum = section.get((length + 4) & !3..)?.first_chunk()?;
        let plain = name.components().count() == 1 && matches!(name.components().next(), Some(Component::Normal(_)));
        plain.then_some(Self { name, checksum: u32::from_le_bytes(*checksum) })
    }
}

/// Finds the debug file of a program by what the program's file says. `roots` are searched in order.
pub fn of(file: &File, path: &Path, build_id: Option<&BuildId>, roots: &[&Root]) -> Option<DebugFile> {
    let link = section(file, ".gnu_debuglink").and_then(|section| DebugLink::parse(&section));
    find(roots, path, build_id, link.as_ref())
}

/// Finds the debug file of the program at `path`. `roots` are searched in order: the target's, then tracer's own.
fn find(roots: &[&Root], path: &Path, build_id: Option<&BuildId>, link: Option<&DebugLink>) -> Option<DebugFile> {
    let mut candidates = Vec::new();
    candidates.extend(build_id.map(by_build_id));
    if let Some(link) = link {
        let directory = path.parent().unwrap_or(Path::new("/"));
        candidates.push(directory.join(&link.name));
        candidates.push(directory.join(".debug").join(&link.name));
        let below = directory.strip_prefix("/").unwrap_or(directory);
        candidates.push(Path::new(DEBUG_DIRECTORY).join(below).join(&link.name));
    }
    open_first(roots, candidates, |file| match (build_id, link) {
        (Some(build_id), _) => has_build_id(file, build_id),
        (None, Some(link)) => has_checksum(file, link.checksum),
        (None, None) => false,
    })
}

/// Finds the file that dwz(1) moved shared parts to. `section` is `.gnu_debugaltlink` of the debug file at `path`: a path
/// and a build id.
pub fn find_supplementary(roots: &[&Root], path: &Path, section: &[u8]) -> Option<(DebugFile, BuildId)> {
    let length = section.iter().position(|&byte| byte == 0)?;
    let build_id = BuildId::new(section.get(length + 1..)?)?;
    let name = Path::new(OsStr::from_bytes(section.get(..length)?));
    let candidates = vec![path.parent()?.join(name), by_build_id(&build_id)];
    let found = open_first(roots, candidates, |file| has_build_id(file, &build_id))?;
    Some((found, build_id))
}

fn by_build_id(build_id: &BuildId) -> PathBuf {
    let name = build_id.to_string();
    let (first, rest) = name.split_at(2);
    Path::new(DEBUG_DIRECTORY).join(".build-id").join(first).join(format!("{rest}.debug"))
}

fn open_first(roots: &[&Root], candidates: Vec<PathBuf>, belongs: impl Fn(&File) -> bool) -> Option<DebugFile> {
    candidates.into_iter().find_map(|path| {
        let file = roots.iter().find_map(|root| root.open(&path).ok().filter(&belongs))?;
        Some(DebugFile { file, path })
    })
}

fn has_build_id(file: &File, build_id: &BuildId) -> bool {
    ElfFacts::read(&elf::reader(file)).is_ok_and(|facts| facts.build_id.as_ref() == Some(build_id))
}

fn has_checksum(file: &File, checksum: u32) -> bool {
    if !file.metadata().is_ok_and(|data| data.len() <= MAX_CHECKED) {
        return false;
    }
    let mut reader = CrcReader::new(file.take(MAX_CHECKED));
    io::copy(&mut reader, &mut io::sink()).is_ok() && reader.crc().sum() == checksum
}

/// A small section's data.
pub(super) fn section(file: &File, name: &str) -> Option<Vec<u8>> {
    let data = elf::reader(file);
    let section = Sections::read(&data)?.find(name)?;
    let small = section.sh_size(LE) <= 1 << 13;
    small.then(|| section.data(LE, &data).ok()).flatten().map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debug_link_names_a_file_and_nothing_else() {
        let link = DebugLink::parse(b"a.debug\0\x04\x03\x02\x01").unwrap();
        assert_eq!(link, DebugLink { name: "a.debug".into(), checksum: 0x0102_0304 });
        assert!(DebugLink::parse(b"ab.debug\0\0\0\0\x04\x03\x02\x01").is_some());
        for section in [
            &b"../shadow\0\0\0\x04\x03\x02\x01"[..],
            b"/x\0\0\x04\x03\x02\x01",
            b"..\0\0\x04\x03\x02\x01",
            b"\0\0\0\0\x04\x03\x02\x01",
            b"abc\0\x04\x03\x02",
            b"abc",
            b"",
        ] {
            assert_eq!(DebugLink::parse(section), None, "{section:?}");
        }
    }

    #[test]
    fn a_checksum_is_that_of_zip() {
        // The check value of CRC-32 (ISO-HDLC).
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, b"123456789").unwrap();
        io::Seek::rewind(&mut file).unwrap();
        assert!(has_checksum(&file, 0xcbf4_3926));
        io::Seek::rewind(&mut file).unwrap();
        assert!(!has_checksum(&file, 0));
    }
}
