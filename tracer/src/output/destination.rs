//! Where output goes: files that appear complete or not at all, or stdout.
//!
//! tracer runs as root and writes into folders of others. A file has no name while it is filled and given to the caller
//! ([`StagedFile`]); at the end it gets one. No symbolic link is followed, and without `--force` nothing is replaced.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::fchown;
use std::path::{Path, PathBuf};

use super::Format;
use super::staged::{StagedFile, folder_of};

/// Endings in .json by which other programs know their formats.
const FOREIGN: [&str; 2] = [".speedscope.json", ".dhat.json"];

/// Where one output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Folded stacks on stdout: `-`.
    Stdout,
    /// A file, in the format that its name ends in.
    File(PathBuf, Format),
}

/// Who is to own the files: the caller of `sudo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub user: u32,
    /// Group id.
    pub group: u32,
}

/// What went wrong with an output.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct Error {
    /// The output.
    pub path: PathBuf,
    /// What went wrong.
    pub reason: Reason,
}

/// See [`Error`].
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The name ends in nothing that names a format.
    #[error(
        "its ending names no format; outputs end in .svg, .pb.gz, .folded or .json, and `-` writes folded stacks to stdout"
    )]
    UnknownEnding,
    /// The name ends as files of another program do, which tracer does not write.
    #[error(
        "files that end in {0} are another program's, which tracer does not write; its own JSON ends in .json alone"
    )]
    ForeignEnding(&'static str),
    /// It is there already.
    #[error("it exists; --force replaces it")]
    Exists,
    /// It is there, and not a file that could be replaced.
    #[error("it is a folder; name a file in it")]
    IsFolder,
    /// Its folder is not there.
    #[error("there is no folder {}; create it first", .0.display())]
    NoFolder(PathBuf),
    /// Its folder may not be written to.
    #[error("no permission to write to the folder {}; name a file elsewhere", .0.display())]
    NotWritable(PathBuf),
    /// Anything else: disk full, an I/O error.
    #[error("it cannot be written: {0}")]
    Io(io::Error),
}

impl Destination {
    /// Understands an argument of `-o`.
    ///
    /// # Errors
    /// [`Reason::UnknownEnding`] and [`Reason::ForeignEnding`].
    pub fn parse(argument: &Path) -> Result<Self, Error> {
        if argument == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let name = argument.file_name().unwrap_or_default().to_string_lossy();
        if let Some(ending) = FOREIGN.into_iter().find(|ending| name.ends_with(ending)) {
            return Err(Error { path: argument.into(), reason: Reason::ForeignEnding(ending) });
        }
        match Format::ALL.into_iter().find(|format| name.ends_with(format.ending())) {
            Some(format) => Ok(Self::File(argument.into(), format)),
            None => Err(Error { path: argument.into(), reason: Reason::UnknownEnding }),
        }
    }

    /// The format that goes there.
    pub fn format(&self) -> Format {
        match self {
            Self::Stdout => Format::Folded,
            Self::File(_, format) => *format,
        }
    }

    /// The file's path; `None` for stdout.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdout => None,
            Self::File(path, _) => Some(path),
        }
    }

    /// Makes sure that it can be written. Done before recording, it spares a recording whose end is "no such folder".
    /// `force` allows to replace a file.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn open(self, force: bool, owner: Option<Owner>) -> Result<Output, Error> {
        let Self::File(path, _) = &self else {
            return Ok(Output { destination: self, file: None, force, owner });
        };
        let fail = |reason| Error { path: path.clone(), reason };
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => return Err(fail(Reason::IsFolder)),
            Ok(_) if !force => return Err(fail(Reason::Exists)),
            _ => {}
        }
        let folder = folder_of(path);
        let file = StagedFile::new(folder).map_err(|error| {
            fail(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Reason::NoFolder(folder.into()),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Reason::NotWritable(folder.into())
                }
                _ => Reason::Io(error),
            })
        })?;
        Ok(Output { destination: self, file: Some(file), force, owner })
    }
}

/// An output that is being written. Dropped before [`Output::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Output {
    destination: Destination,
    file: Option<StagedFile>,
    force: bool,
    owner: Option<Owner>,
}

/// An output that was written.
#[derive(Debug)]
pub struct Written {
    /// Where.
    pub destination: Destination,
    /// Why the file could not be given to its owner; on file systems that have none, for example.
    pub not_owned: Option<io::Error>,
}

impl Output {
    /// The format that goes there.
    pub fn format(&self) -> Format {
        self.destination.format()
    }

    /// Writes the content. A reader of stdout that has gone is no error: it has what it wanted.
    ///
    /// # Errors
    /// [`Reason::Io`].
    pub fn fill(&mut self, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
        let result = match &mut self.file {
            None => match write_all(io::stdout().lock(), content) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                result => result,
            },
            Some(file) => write_all(file, content),
        };
        result.map_err(|error| self.error(Reason::Io(error)))
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`Reason::Exists`] where somebody else was faster, or [`Reason::Io`].
    pub fn commit(mut self) -> Result<Written, Error> {
        let Some(file) = self.file.take() else {
            return Ok(Written { destination: self.destination, not_owned: None });
        };
        let Some(path) = self.destination.path() else {
            return Ok(Written { destination: self.destination, not_owned: None });
        };
        let not_owned = self.owner.and_then(|owner| give(file.file(), owner).err());
        match file.place(path, self.force) {
            Ok(()) => Ok(Written { destination: self.destination, not_owned }),
            Err(error) => Err(self.error(match error.kind() {
                io::ErrorKind::AlreadyExists => Reason::Exists,
                _ => Reason::Io(error),
            })),
        }
    }

    fn error(&self, reason: Reason) -> Error {
        Error { path: self.destination.path().unwrap_or(Path::new("stdout")).into(), reason }
    }
}

fn write_all(to: impl Write, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 << 10, to);
    content(&mut out)?;
    out.flush()
}

fn give(file: &File, owner: Owner) -> io::Result<()> {
    fchown(file, Some(owner.user), Some(owner.group))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn destination(path: impl AsRef<Path>) -> Destination {
        Destination::parse(path.as_ref()).unwrap()
    }

    fn write_to(path: &Path, text: &str, force: bool) -> Result<Written, Error> {
        let mut output = destination(path).open(force, None)?;
        output.fill(|out| out.write_all(text.as_bytes()))?;
        output.commit()
    }

    #[test]
    fn endings_name_formats() {
        assert_eq!(destination("-"), Destination::Stdout);
        assert_eq!(destination("-").format(), Format::Folded);
        for (name, format) in [
            ("a/b.svg", Format::Svg),
            ("b.pb.gz", Format::Pprof),
            ("b.x.folded", Format::Folded),
            ("./-.json", Format::Json),
        ] {
            assert_eq!(destination(name), Destination::File(name.into(), format));
        }
        for name in ["", "x", "x.gz", "x.svg/", "x.SVG.txt", "..", "svg"] {
            if name == "x.svg/" {
                continue; // A folder's name, found out when it is opened.
            }
            let error = Destination::parse(Path::new(name)).unwrap_err();
            assert!(matches!(error.reason, Reason::UnknownEnding), "{name}");
            assert!(error.to_string().contains(".svg, .pb.gz, .folded or .json"), "{error}");
        }
        for name in ["x.speedscope.json", "a.b/.dhat.json"] {
            let error = Destination::parse(Path::new(name)).unwrap_err();
            assert!(matches!(error.reason, Reason::ForeignEnding(ending) if name.ends_with(ending)), "{error}");
        }
        assert_eq!(destination("dhat.json").format(), Format::Json);
    }

    #[test]
    fn files_are_replaced_only_by_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.folded");
        write_to(&path, "one", false).unwrap();
        let error = write_to(&path, "two", false).unwrap_err();
        assert!(matches!(error.reason, Reason::Exists), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        write_to(&path, "two", true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.folded");
        let output = destination(&path).open(false, None).unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(matches!(output.commit().unwrap_err().reason, Reason::Exists));
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
    }

    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, link) = (folder.path().join("victim"), folder.path().join("x.svg"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &link).unwrap();
        assert!(matches!(write_to(&link, "evil", false).unwrap_err().reason, Reason::Exists));
        write_to(&link, "new", true).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
        // Nor is one that leads nowhere a free name.
        let dangling = folder.path().join("y.svg");
        symlink("/nonexistent", &dangling).unwrap();
        assert!(matches!(write_to(&dangling, "evil", false).unwrap_err().reason, Reason::Exists));
    }

    #[test]
    fn nothing_is_left_of_an_output_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        let mut output = destination(&path).open(false, None).unwrap();
        let full = output.fill(|out| {
            out.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(matches!(full.unwrap_err().reason, Reason::Io(_)));
        drop(output);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn missing_folders_and_folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no/x.svg");
        let error = destination(&missing).open(false, None).unwrap_err();
        assert!(matches!(error.reason, Reason::NoFolder(_)), "{error}");
        let is_folder = folder.path().join("d.svg");
        fs::create_dir(&is_folder).unwrap();
        let error = destination(&is_folder).open(true, None).unwrap_err();
        assert!(matches!(error.reason, Reason::IsFolder), "{error}");
        let error = destination("/proc/x.svg").open(false, None).unwrap_err();
        assert!(matches!(error.reason, Reason::NoFolder(_) | Reason::NotWritable(_)), "{error:?}");
    }

    #[test]
    fn files_go_to_their_owner() {
        let folder = tempfile::tempdir().unwrap();
        let me = fs::metadata(&folder).unwrap();
        let root = me.uid() == 0;
        let owner = Owner { user: if root { 4321 } else { me.uid() }, group: if root { 4322 } else { me.gid() } };
        let path = folder.path().join("x.svg");
        let written = destination(&path).open(false, Some(owner)).unwrap().commit().unwrap();
        assert!(written.not_owned.is_none());
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (owner.user, owner.group));
        assert_eq!(metadata.mode() & 0o7133, 0, "{:o}", metadata.mode());
    }
}
