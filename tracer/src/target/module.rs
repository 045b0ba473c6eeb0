//! A mapped ELF file, held open so that the very file that ran is read at the end, deleted or not.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, major, memfd_create};
use thiserror::Error;

use super::elf::{self, BuildId, ElfError, ElfFacts, ElfReader};
use super::file_state::FileState;
use super::filesystem::{FoundFile, Root};
use super::identity::printable;
use super::mappings::{Entry, MappingKind, Mappings};
use super::procfs::Procfs;

/// Larger files are not read. The largest executables known have a few GiB, most of it debug information.
pub const MAX_FILE_SIZE: u64 = 16 << 30;
/// Larger vdsos do not exist; today's has two pages.
const MAX_VDSO_SIZE: u64 = 1 << 20;

/// A mapped ELF file.
#[derive(Debug)]
pub struct Module {
    /// Its number in [`Frame`](tracer_ebpf::abi::sample::Frame)s; never 0.
    pub number: u16,
    /// Path as the target sees it, or `[vdso]`.
    pub path: String,
    /// [`MappingKind::File`] or [`MappingKind::Vdso`].
    pub kind: MappingKind,
    /// First executable mapping seen: its first process address.
    pub start: u64,
    /// The first process address behind that mapping.
    pub end: u64,
    /// The file offset of that mapping.
    pub file_offset: u64,
    /// It is the program interpreter (`ld.so`).
    pub is_interpreter: bool,
    pub(super) contents: Result<Contents, Missing>,
}

/// Why the contents of a mapped file are not known. Its addresses are file offsets then.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Missing {
    /// Another file has taken its path, and the mapped one cannot be reached.
    #[error("the file was replaced after it was mapped")]
    Replaced,
    /// It was written to since it was mapped.
    #[error("the file was changed after it was mapped")]
    Changed,
    /// It could not be opened.
    #[error("the file could not be read")]
    Unreadable,
    /// It was not opened: as many files are as may be.
    #[error("too many files are open already")]
    TooMany,
    /// Beyond [`MAX_FILE_SIZE`].
    #[error("the file is too large to read")]
    TooLarge,
    /// It is not ELF as tracer knows it.
    #[error("{0}")]
    Elf(ElfError),
}

/// An open ELF file.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) file: Arc<File>,
    pub(crate) facts: ElfFacts,
    state: FileState,
    modified: (i64, i64),
    deleted: bool,
}

impl Module {
    /// The ELF file, if it could be opened. Each call reads anew: drop the reader to free what it has read.
    pub fn elf(&self) -> Result<ElfReader<'_>, Missing> {
        self.contents.as_ref().map(|contents| elf::reader(&contents.file)).map_err(|missing| *missing)
    }

    /// What is known of the file.
    pub fn facts(&self) -> Result<&ElfFacts, Missing> {
        self.contents.as_ref().map(|contents| &contents.facts).map_err(|missing| *missing)
    }

    /// The open file; `None` where its contents are not known.
    pub fn file(&self) -> Option<Arc<File>> {
        Some(Arc::clone(&self.contents.as_ref().ok()?.file))
    }

    /// The state of the file that this module stands for; `None` where its contents are not known.
    pub fn state(&self) -> Option<FileState> {
        Some(self.contents.as_ref().ok()?.state())
    }

    /// A path by which the kernel opens this very file, whatever has happened to its name. Valid while `self` lives.
    pub fn descriptor_path(&self) -> Option<PathBuf> {
        let contents = self.contents.as_ref().ok()?;
        Some(PathBuf::from(format!("/proc/self/fd/{}", contents.file.as_raw_fd())))
    }

    /// Its build id.
    pub fn build_id(&self) -> Option<&BuildId> {
        self.contents.as_ref().ok()?.facts.build_id.as_ref()
    }

    /// The open file, unless it was written to since it was opened: its names could be wrong.
    pub(crate) fn unchanged(&self) -> Result<&Contents, Missing> {
        let contents = self.contents.as_ref().map_err(|missing| *missing)?;
        let now = contents.file.metadata().map_err(|_| Missing::Unreadable)?;
        if (now.len(), (now.mtime(), now.mtime_nsec())) != (contents.state.size, contents.modified) {
            // Touched only? The build id names the contents.
            let facts = ElfFacts::read(&elf::reader(&contents.file)).map_err(|_| Missing::Changed)?;
            if facts.build_id.is_none() || facts != contents.facts {
                return Err(Missing::Changed);
            }
        }
        Ok(contents)
    }

    /// The bias of one of its mappings, see [`ElfFacts::bias`]. A file whose contents are not known is addressed by
    /// file offset.
    pub(super) fn bias(&self, entry: &Entry) -> Option<u64> {
        match &self.contents {
            Ok(contents) => contents.facts.bias(entry.start, entry.end, entry.file_offset),
            Err(_) => Some(entry.start.wrapping_sub(entry.file_offset)),
        }
    }
}

impl Contents {
    pub(super) fn new(file: File) -> Result<Self, Missing> {
        let data = file.metadata().map_err(|_| Missing::Unreadable)?;
        if data.len() > MAX_FILE_SIZE {
            return Err(Missing::TooLarge);
        }
        let facts = ElfFacts::read(&elf::reader(&file)).map_err(Missing::Elf)?;
        let (state, modified) = (FileState::from(&data), (data.mtime(), data.mtime_nsec()));
        Ok(Self { file: Arc::new(file), facts, state, modified, deleted: data.nlink() == 0 })
    }

    /// The state of the file when it was opened.
    pub(super) fn state(&self) -> FileState {
        self.state
    }

    /// Finds the file of a mapping.
    ///
    /// # Errors
    /// The outer error is that the mapping is gone by now.
    pub(super) fn find(pid: u32, entry: &Entry) -> Result<Result<FoundFile, Missing>, Gone> {
        let map_files = FoundFile::at(&Procfs::of(pid).mapped_file(entry.start, entry.end));
        let found = match map_files {
            Ok(found) => Ok(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Gone),
            // Without CAP_SYS_ADMIN and CAP_CHECKPOINT_RESTORE that directory is closed (proc_pid_map_files(5)).
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Self::find_by_path(pid, entry),
            Err(_) => Err(Missing::Unreadable),
        };
        match found {
            // The program has mapped another one in its place after its mappings were read.
            Ok(found) if found.state.inode != entry.inode && found.state.device == entry.device => Err(Gone),
            found => Ok(found),
        }
    }

    /// Opens a file that was found for a mapping, and has not been opened for any before.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub(super) fn open(pid: u32, entry: &Entry, found: &FoundFile) -> Result<Result<Self, Missing>, Gone> {
        // Where files lie in layers (overlayfs) the numbers may be those of different layers; then the mapping must still be there.
        if found.state.inode != entry.inode && !is_mapped(pid, entry) {
            return Err(Gone);
        }
        Ok(found.open().map_err(|_| Missing::Unreadable).and_then(Self::new))
    }

    /// The file that has the mapping's path now, if it is the mapped one.
    fn find_by_path(pid: u32, entry: &Entry) -> Result<FoundFile, Missing> {
        let path = Path::new(OsStr::from_bytes(&entry.path));
        let found = Root::of_process(pid).and_then(|root| root.find(path)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Missing::Replaced,
            _ => Missing::Unreadable,
        })?;
        let FileState { device, inode, .. } = found.state;
        // btrfs and overlayfs show one device number in the mappings and another here; both have major number 0.
        let same_device = device == entry.device || major(device) == 0 && major(entry.device) == 0;
        if inode == entry.inode && same_device { Ok(found) } else { Err(Missing::Replaced) }
    }

    /// Copies the vdso out of the process. Gives the bytes too.
    pub(super) fn vdso(pid: u32, entry: &Entry) -> io::Result<(Self, Vec<u8>)> {
        let size = entry.end - entry.start;
        if size > MAX_VDSO_SIZE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| io::ErrorKind::InvalidData)?];
        File::open(Procfs::of(pid).path("mem"))?.read_exact_at(&mut bytes, entry.start)?;
        let mut file = File::from(memfd_create("vdso", MemfdFlags::CLOEXEC)?);
        file.write_all(&bytes)?;
        let contents = Self::new(file).map_err(|missing| io::Error::new(io::ErrorKind::InvalidData, missing))?;
        Ok((contents, bytes))
    }

    /// The path for people: without the kernel's ` (deleted)` where that is not part of the name.
    pub(super) fn path(contents: &Result<Self, Missing>, entry: &Entry) -> String {
        let deleted = contents.as_ref().map_or(true, |contents| contents.deleted);
        let path = entry.path.strip_suffix(b" (deleted)").filter(|_| deleted).unwrap_or(&entry.path);
        printable(path)
    }
}

/// Whether a process has this mapping now.
fn is_mapped(pid: u32, entry: &Entry) -> bool {
    let place = |entry: &Entry| (entry.start, entry.end, entry.device, entry.inode);
    Mappings::read(pid).is_ok_and(|now| now.executable.iter().any(|now| place(now) == place(entry)))
}

/// The mapping does not exist any more.
#[derive(Debug)]
pub(super) struct Gone;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry_of_own_code() -> Entry {
        let address = entry_of_own_code as fn() -> Entry as usize as u64;
        let mappings = Mappings::read(std::process::id()).unwrap();
        mappings.executable.into_iter().find(|entry| (entry.start..entry.end).contains(&address)).unwrap()
    }

    fn open(entry: &Entry) -> Result<Result<Contents, Missing>, Gone> {
        let found = Contents::find(std::process::id(), entry)?.unwrap();
        Contents::open(std::process::id(), entry, &found)
    }

    #[test]
    fn the_file_is_found_by_path_when_its_inode_agrees() {
        let mut entry = entry_of_own_code();
        Contents::find_by_path(std::process::id(), &entry).unwrap();
        entry.inode += 1;
        assert_eq!(Contents::find_by_path(std::process::id(), &entry).unwrap_err(), Missing::Replaced);
        entry.path = b"/proc/self/no-such-file".to_vec();
        assert_eq!(Contents::find_by_path(std::process::id(), &entry).unwrap_err(), Missing::Replaced);
        entry.path = b"/dev/null".to_vec();
        assert_eq!(Contents::find_by_path(std::process::id(), &entry).unwrap_err(), Missing::Unreadable);
    }

    #[test]
    fn a_file_that_came_in_place_of_the_mapped_one_is_not_taken_for_it() {
        let entry = entry_of_own_code();
        let other = Entry { inode: entry.inode + 1, ..entry.clone() };
        assert!(open(&other).is_err());
        // Of another device by its number: nothing like it is mapped.
        let other = Entry { device: entry.device + 1, ..other };
        assert!(open(&other).is_err());
        open(&entry).unwrap().unwrap();
    }

    #[test]
    fn a_mapping_that_is_gone_is_told_from_one_that_cannot_be_read() {
        let mut entry = entry_of_own_code();
        open(&entry).unwrap().unwrap();
        entry.end += 0x1000;
        assert!(open(&entry).is_err());
    }
}
