//! Which file, in which state: what tells the contents of files apart.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

/// A file in one state. Two that are equal have the same contents: whoever writes to a file changes its status change time,
/// which unlike the modification time cannot be set back. So does whoever only renames or unlinks it: that two differ means
/// nothing. Kernels before 6.13 set that time to the last tick of their clock; two writes within one tick (1 to 10 ms), with
/// a look between them, cannot be told there unless the file's length changes.
///
/// Not its build id: a file can carry any, and a table built from one file would then unwind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileState {
    /// Its file system, as `stat` has it. On btrfs each subvolume has a number of its own there, but not in the mappings.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Its length in bytes.
    pub size: u64,
    /// The status change time: nanoseconds since 1970.
    pub changed_ns: i128,
}

impl FileState {
    /// The state of an open file.
    ///
    /// # Errors
    /// Where its status cannot be read, and for what is no regular file: reading a device may do anything.
    pub fn of(file: &File) -> io::Result<Self> {
        let status = file.metadata()?;
        if !status.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Self::from(&status))
    }
}

impl From<&Metadata> for FileState {
    fn from(data: &Metadata) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.len(),
            changed_ns: i128::from(data.ctime()) * 1_000_000_000 + i128::from(data.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_not_read() {
        let error = FileState::of(&File::open("/dev/zero").unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
