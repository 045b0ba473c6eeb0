//! Opening files that the target names, without being led astray by it.
//!
//! A path of the target may lead to a pipe that blocks, a device that acts when opened, or through a symbolic link to a
//! file of the host. So a file is first opened as a mere path (`O_PATH`, which touches nothing), then looked at, and only
//! a regular file is opened for reading.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

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

    /// Opens a regular file. `path` is resolved inside this root, symbolic links too.
    ///
    /// # Errors
    /// When there is no regular file, or it cannot be opened.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        read_regular(&openat2(&self.root, path, PATH_ONLY, Mode::empty(), INSIDE)?)
    }

    /// Opens a regular file of the directory `/tmp`, where anyone may plant a symbolic link: none is followed.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in_tmp(&self, name: &str) -> io::Result<File> {
        let tmp = self.tmp.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let resolve = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);
        read_regular(&openat2(tmp, name, PATH_ONLY, Mode::empty(), resolve)?)
    }
}

const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Opens `path` of tracer's own file system, a link of `/proc` for example, when it leads to a regular file.
pub(crate) fn open_regular(path: &str) -> io::Result<File> {
    read_regular(&openat2(CWD, path, PATH_ONLY, Mode::empty(), ResolveFlags::empty())?)
}

fn read_regular(path_only: &OwnedFd) -> io::Result<File> {
    if FileType::from_raw_mode(fstat(path_only)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    File::open(format!("/proc/self/fd/{}", path_only.as_raw_fd()))
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
        assert_eq!(open_regular(pipe.to_str().unwrap()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(open_regular("/dev/null").is_err());
        assert!(open_regular("/").is_err());
    }
}
