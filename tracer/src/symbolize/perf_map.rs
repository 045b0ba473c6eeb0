//! Perf maps: the names that a program with a run-time compiler leaves in `/tmp/perf-PID.map`.
//!
//! One function a line, `START SIZE NAME` in hexadecimal without prefix (`tools/perf/Documentation/jit-interface.txt` of
//! the kernel). The program appends as it compiles, so where entries overlap the later one is right.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use crate::target::filesystem::Root;
use crate::target::identity::printable;

/// Larger maps are not read: two million functions fit.
const MAX_SIZE: u64 = 256 << 20;
/// Longer names are cut.
const MAX_NAME: usize = 4096;

/// Why a process's perf map is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PerfMapProblem {
    /// There is none.
    Absent,
    /// The process had ended before its files could be looked at, or there were too many processes.
    NotHeld,
    /// It is a link, a pipe or the like, or may not be read.
    NotReadable,
    /// It belongs neither to the process's user nor to root, so anyone may have written it.
    ForeignOwner,
    /// Beyond 256 MiB.
    TooLarge,
    /// Those of other processes were as large together as may be read.
    TooMany,
}

impl PerfMapProblem {
    /// What the user can do about it; empty where nothing is known.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Absent => {
                "let the program write one: node --perf-basic-prof, jcmd PID Compiler.perfmap (Java), DOTNET_PerfMapEnabled=1"
            }
            Self::NotReadable | Self::ForeignOwner => "remove the file and restart the process",
            Self::TooLarge | Self::TooMany | Self::NotHeld => "",
        }
    }
}

impl fmt::Display for PerfMapProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "code made at run time, and no perf map names it",
            Self::NotHeld => "code made at run time, whose perf map was out of reach",
            Self::NotReadable => "the perf map is not a readable regular file",
            Self::ForeignOwner => "the perf map belongs to another user",
            Self::TooLarge => "the perf map is too large",
            Self::TooMany => "the perf map was not read: those of other processes are too large",
        })
    }
}

/// A perf map as read.
#[derive(Debug)]
pub struct PerfMap {
    text: Vec<u8>,
}

/// What a perf map says about some addresses.
#[derive(Debug, PartialEq, Eq)]
pub struct PerfMapNames {
    /// One for each address asked for.
    pub names: Vec<Option<String>>,
    /// Lines that are not of the form.
    pub malformed: u64,
}

impl PerfMap {
    /// Reads the map that a process left in its own `/tmp` under the process id it has in its own namespace.
    ///
    /// # Errors
    /// When there is none that can be trusted.
    pub fn read(root: &Root, namespace_pid: u32, uid: u32) -> Result<Self, PerfMapProblem> {
        let file = root.open_in_tmp(&format!("perf-{namespace_pid}.map")).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => PerfMapProblem::Absent,
            _ => PerfMapProblem::NotReadable,
        })?;
        Self::from_file(&file, uid)
    }

    fn from_file(file: &File, uid: u32) -> Result<Self, PerfMapProblem> {
        let data = file.metadata().map_err(|_| PerfMapProblem::NotReadable)?;
        // As perf does (tools/perf/util/symbol.c, dso__load). Another name of a file of root's would pass, hence the links.
        if (data.uid() != uid && data.uid() != 0) || data.nlink() > 1 {
            return Err(PerfMapProblem::ForeignOwner);
        }
        let mut text = Vec::new();
        // The program may be writing it right now.
        file.take(MAX_SIZE + 1).read_to_end(&mut text).map_err(|_| PerfMapProblem::NotReadable)?;
        if text.len() as u64 > MAX_SIZE {
            return Err(PerfMapProblem::TooLarge);
        }
        Ok(Self { text })
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.text.len() as u64
    }

    /// Names the given addresses. From the last line to the first, each line names what no later line has named: time
    /// grows with lines plus addresses, however much entries overlap.
    pub fn names(&self, addresses: &[u64]) -> PerfMapNames {
        let mut order: Vec<usize> = (0..addresses.len()).collect();
        order.sort_unstable_by_key(|&index| addresses[index]);
        let sorted: Vec<u64> = order.iter().map(|&index| addresses[index]).collect();
        let mut open = Open::new(sorted.len());
        let mut names = vec![None; addresses.len()];
        let mut malformed = 0;
        // What stands behind the last line end is still being written.
        let whole = self.text.iter().rposition(|&byte| byte == b'\n').map_or(&[][..], |end| &self.text[..end]);
        for line in whole.rsplit(|&byte| byte == b'\n') {
            let Some((start, end, name)) = parse_line(line) else {
                malformed += u64::from(!line.trim_ascii().is_empty());
                continue;
            };
            let mut at = open.first(sorted.partition_point(|&address| address < start));
            while sorted.get(at).is_some_and(|&address| address < end) {
                names[order[at]] = Some(printable(&name[..name.len().min(MAX_NAME)]));
                at = open.close(at);
            }
        }
        PerfMapNames { names, malformed }
    }
}

fn parse_line(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let mut fields = line.trim_ascii().splitn(3, |byte| *byte == b' ');
    let mut number = || {
        let text = std::str::from_utf8(fields.next()?).ok()?;
        u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
    };
    let (start, size) = (number()?, number()?);
    let name = fields.next()?.trim_ascii();
    (!name.is_empty()).then_some((start, start.checked_add(size)?, name))
}

/// Which positions have no name yet: a union-find forest that leads from each position to the next open one.
struct Open(Vec<usize>);

impl Open {
    fn new(count: usize) -> Self {
        Self((0..=count).collect())
    }

    /// The first open position at or behind `at`.
    fn first(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    /// Closes an open position and gives the next.
    fn close(&mut self, at: usize) -> usize {
        self.0[at] = at + 1;
        self.first(at + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn names(text: &[u8], addresses: &[u64]) -> PerfMapNames {
        PerfMap { text: text.to_vec() }.names(addresses)
    }

    #[test]
    fn later_entries_win() {
        let text = b"1000 100 old\n1080 20 inner of old\n2000 10 LazyCompile:*f /a b.js:1\n1000 10 moved\n";
        let found = names(text, &[0x1090, 0x1000, 0x100f, 0x1010, 0x10ff, 0x1100, 0x2000, 0xfff]);
        let expected = [
            Some("inner of old"),
            Some("moved"),
            Some("moved"),
            Some("old"),
            Some("old"),
            None,
            Some("LazyCompile:*f /a b.js:1"),
            None,
        ];
        assert_eq!(found.names.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
        assert_eq!(found.malformed, 0);
    }

    #[test]
    fn hostile_lines_are_counted_and_skipped() {
        let mut text = b"\n\nzz 10 a\n1000\n1000 10\n1000 10 \nffffffffffffffff 10 b\n-1 10 c\n1000 1g d\n".to_vec();
        text.extend_from_slice(b"0x1000 0x10 with \x1b[31m\xff prefix\r\n2000 8 ");
        text.resize(text.len() + 3 * MAX_NAME, b'n');
        text.extend_from_slice(b"\n3000 10 half a li");
        let found = names(&text, &[0x1000, 0x2000, 0x3000]);
        assert_eq!(found.malformed, 7);
        assert_eq!(found.names[0].as_deref(), Some("with \u{fffd}[31m\u{fffd} prefix"));
        assert_eq!(found.names[1].as_ref().map(String::len), Some(MAX_NAME));
        assert_eq!(found.names[2], None);
        assert_eq!(names(b"no line end", &[1]).names, [None]);
    }

    #[test]
    fn entries_that_all_cover_everything_cost_no_more() {
        let text = "0 ffffffffffffffff f\n".repeat(200_000);
        let addresses: Vec<u64> = (0..100_000).collect();
        assert!(names(text.as_bytes(), &addresses).names.iter().all(Option::is_some));
    }

    #[test]
    fn only_a_file_of_the_right_owner_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let tmp = directory.path().join("tmp");
        std::fs::create_dir(&tmp).unwrap();
        let root = Root::at(directory.path()).unwrap();
        let uid = std::fs::metadata(&tmp).unwrap().uid();
        let read = |pid| PerfMap::read(&root, pid, uid).map(|map| map.text);
        assert_eq!(read(1), Err(PerfMapProblem::Absent));
        std::fs::write(tmp.join("perf-2.map"), "1 2 f\n").unwrap();
        assert_eq!(read(2), Ok(b"1 2 f\n".to_vec()));
        symlink(tmp.join("perf-2.map"), tmp.join("perf-3.map")).unwrap();
        assert_eq!(read(3), Err(PerfMapProblem::NotReadable));
        assert!(std::process::Command::new("mkfifo").arg(tmp.join("perf-4.map")).status().unwrap().success());
        assert_eq!(read(4), Err(PerfMapProblem::NotReadable));
        std::fs::write(tmp.join("perf-5.map"), "").unwrap();
        std::fs::hard_link(tmp.join("perf-5.map"), tmp.join("other")).unwrap();
        assert_eq!(read(5), Err(PerfMapProblem::ForeignOwner));
        File::create(tmp.join("perf-6.map")).unwrap().set_len(MAX_SIZE + 1).unwrap();
        assert_eq!(read(6), Err(PerfMapProblem::TooLarge));
        if chown(tmp.join("perf-2.map"), Some(uid + 1), None).is_ok() {
            assert_eq!(read(2), Err(PerfMapProblem::ForeignOwner));
        } else {
            println!("skipped: a file of another user needs root");
        }
    }
}
