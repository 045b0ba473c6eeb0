//! Opening files that the target names, without being led astray by it.
//!
//! A path of the target may lead to a pipe that blocks, a device that acts when opened, or through a symbolic link to a
//! file of the host. So a file is first opened as a mere path (`O_PATH`, which touches nothing), then looked at, and only
//! a regular file is opened for reading.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat2};

use super::file_state::FileState;

use super::procfs::Procfs;

/// The file system as one mount namespace sees it. Stays usable after the process has ended.
#[derive(Debug)]
pub struct Root {
    root: OwnedFd,
    /// Held apart because a namespace that nobody uses any more loses its inner mounts, of which `/tmp` is often one.
    tmp: Option<OwnedFd>,
}

impl Root {
    /// The root directory of process `pid`.
    ///
    /// # Errors
    /// When the process has ended or may not be read.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        Self::at(Path::new(&Procfs::of(pid).path("root")))
    }

    /// tracer's own root directory.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn host() -> io::Result<Self> {
        Self::at(Path::new("/"))
    }

    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::empty())?;
        let tmp = openat2(&root, "tmp", flags, Mode::empty(), INSIDE).ok();
        Ok(Self { root, tmp })
    }

    /// Whether both are the same directory with the same `/tmp`.
    pub fn is_same(&self, other: &Self) -> bool {
        let identity = |directory: &OwnedFd| fstat(directory).ok().map(|data| (data.st_dev, data.st_ino));
        let tmp = |root: &Self| root.tmp.as_ref().map(identity);
        identity(&self.root).is_some_and(|own| identity(&other.root) == Some(own)) && tmp(self) == tmp(other)
    }

    /// Opens a regular file. `path` is resolved inside this root, symbolic links too.
    ///
    /// # Errors
    /// When there is no regular file, or it cannot be opened.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        self.find(path)?.open()
    }

    /// The same, without opening it for reading.
    pub(crate) fn find(&self, path: &Path) -> io::Result<FoundFile> {
        FoundFile::new(openat2(&self.root, path, PATH_ONLY, Mode::empty(), INSIDE)?)
    }

    /// Opens a regular file of the directory `/tmp`, where anyone may plant a symbolic link: none is followed.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in_tmp(&self, name: &str) -> io::Result<File> {
        let tmp = self.tmp.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let resolve = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);
        FoundFile::new(openat2(tmp, name, PATH_ONLY, Mode::empty(), resolve)?)?.open()
    }
}

const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// A regular file that is held, but not open for reading.
#[derive(Debug)]
pub(crate) struct FoundFile {
    path_only: OwnedFd,
    /// Its state when it was found.
    pub(crate) state: FileState,
}

impl FoundFile {
    /// Finds `path` in tracer's own file system, a link of `/proc` for example, when it leads to a regular file.
    pub(crate) fn at(path: &str) -> io::Result<Self> {
        Self::new(openat2(CWD, path, PATH_ONLY, Mode::empty(), ResolveFlags::empty())?)
    }

    fn new(path_only: OwnedFd) -> io::Result<Self> {
        let held = File::from(path_only);
        let state = FileState::of(&held)?;
        Ok(Self { path_only: held.into(), state })
    }

    /// Opens it for reading.
    pub(crate) fn open(&self) -> io::Result<File> {
        File::open(format!("/proc/self/fd/{}", self.path_only.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn links_stay_inside_the_root() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("root");
        std::fs::create_dir_all(inner.join("tmp")).unwrap();
        std::fs::write(outer.path().join("secret"), "outside").unwrap();
        std::fs::write(inner.join("secret"), "inside").unwrap();
        symlink("/../secret", inner.join("link")).unwrap();
        let root = Root::at(&inner).unwrap();
        for path in ["secret", "/secret", "../secret", "link", "/tmp/../../secret"] {
            let mut text = String::new();
            root.open(Path::new(path)).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "inside", "{path}");
        }
        symlink("../secret", inner.join("tmp/link")).unwrap();
        std::fs::write(inner.join("tmp/plain"), "").unwrap();
        assert!(root.open_in_tmp("link").is_err());
        assert!(root.open_in_tmp("../secret").is_err());
        root.open_in_tmp("plain").unwrap();
    }

    #[test]
    fn pipes_and_directories_are_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(FoundFile::at(pipe.to_str().unwrap()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(FoundFile::at("/dev/null").is_err());
        assert!(FoundFile::at("/").is_err());
    }
}
