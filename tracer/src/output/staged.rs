//! A file on its way: without a name while it is written, then put in its place at once.
//!
//! A file that was opened with `O_TMPFILE` (open(2)) is in no folder: whatever ends tracer, SIGKILL too, leaves nothing.
//! File systems without that (NFS, FAT) get a file under a random name, which only a tracer that is killed leaves behind.

use std::{
    fs::{File, Permissions},
    io::{self, Write},
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, linkat, openat},
    io::Errno,
};
use tempfile::{NamedTempFile, TempPath};

/// Permissions of outputs, before the umask.
const MODE: u32 = 0o644;

/// See the module. Dropped before [`StagedFile::place`], it leaves nothing.
#[derive(Debug)]
pub struct StagedFile(Kind);

#[derive(Debug)]
enum Kind {
    Nameless(File),
    Named(NamedTempFile),
}

impl StagedFile {
    /// Makes an empty file in the file system of `folder`.
    ///
    /// # Errors
    /// What the kernel says, as for any new file in that folder.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match openat(CWD, folder, flags, Mode::from_raw_mode(MODE)) {
            Ok(fd) => Ok(Self(Kind::Nameless(File::from(fd)))),
            // The file system has no such files (EOPNOTSUPP), or does not know the flag and sees an open for writing.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Self::named(folder),
            Err(error) => Err(error.into()),
        }
    }

    fn named(folder: &Path) -> io::Result<Self> {
        let file = names().permissions(Permissions::from_mode(MODE)).tempfile_in(folder)?;
        Ok(Self(Kind::Named(file)))
    }

    /// The open file.
    pub fn file(&self) -> &File {
        match &self.0 {
            Kind::Nameless(file) => file,
            Kind::Named(file) => file.as_file(),
        }
    }

    /// Gives it the name `path`, in the folder that it was made for. With `replace` it takes the place of what is there;
    /// a symbolic link is replaced, not followed.
    ///
    /// # Errors
    /// `AlreadyExists` without `replace`, and what else the kernel says.
    pub fn place(self, path: &Path, replace: bool) -> io::Result<()> {
        match self.0 {
            Kind::Named(file) if replace => file.persist(path).map(drop).map_err(|failed| failed.error),
            Kind::Named(file) => file.persist_noclobber(path).map(drop).map_err(|failed| failed.error),
            Kind::Nameless(file) => match link(&file, path) {
                // Only a rename replaces, and it needs a name to begin with.
                Err(error) if replace && error.kind() == io::ErrorKind::AlreadyExists => {
                    let named: TempPath = names().make_in(folder_of(path), |name| link(&file, name))?.into_temp_path();
                    named.persist(path).map_err(|failed| failed.error)
                }
                result => result,
            },
        }
    }
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}

/// The folder that a path's last part is in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Names that nobody can have put there before: random, and made with `O_EXCL`, which follows no link.
fn names() -> tempfile::Builder<'static, 'static> {
    let mut names = tempfile::Builder::new();
    names.prefix(".tracer-").suffix(".tmp");
    names
}

/// Gives an open file a name. By /proc, since linking the descriptor itself needs `CAP_DAC_READ_SEARCH` (open(2)).
fn link(file: &File, path: &Path) -> io::Result<()> {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn filled(mut staged: StagedFile) -> StagedFile {
        staged.write_all(b"new").unwrap();
        staged
    }

    fn count(folder: &tempfile::TempDir) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_nameless_file_is_in_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let staged = filled(StagedFile::new(folder.path()).unwrap());
        if matches!(staged.0, Kind::Named(_)) {
            eprintln!("skipped: the file system of {} has no nameless files", folder.path().display());
            return;
        }
        assert_eq!(count(&folder), 0);
        staged.place(&folder.path().join("x"), false).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("x")).unwrap(), "new");
        assert_eq!(count(&folder), 1);
    }

    #[test]
    fn both_kinds_replace_only_when_asked_to_and_leave_nothing_else() {
        for make in [StagedFile::new, StagedFile::named] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x");
            fs::write(&path, "old").unwrap();
            let error = filled(make(folder.path()).unwrap()).place(&path, false).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!((fs::read_to_string(&path).unwrap().as_str(), count(&folder)), ("old", 1));
            filled(make(folder.path()).unwrap()).place(&path, true).unwrap();
            assert_eq!((fs::read_to_string(&path).unwrap().as_str(), count(&folder)), ("new", 1));
            drop(filled(make(folder.path()).unwrap()));
            assert_eq!(count(&folder), 1);
        }
    }
}
