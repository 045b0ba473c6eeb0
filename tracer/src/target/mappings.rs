//! `/proc/PID/maps`: what is mapped where, reduced to what can be executed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use super::procfs::Procfs;

/// Executable mappings kept of one process; the kernel's default limit for all mappings is 65,530 (`max_map_count`).
pub const MAX_EXECUTABLE: usize = 1 << 16;
/// A line holds at most a path of 4,096 bytes, of which each may be escaped as four.
const MAX_LINE: usize = 5 * 4096;

/// What an executable mapping holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MappingKind {
    /// A file.
    File,
    /// The kernel's shared object for fast system calls.
    Vdso,
    /// Memory of the process itself: code made at run time (JIT).
    Anonymous,
    /// The kernel's slots for uprobes.
    Uprobes,
}

/// One executable mapping, in process addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First process address.
    pub start: u64,
    /// First process address behind it.
    pub end: u64,
    /// File offset of `start`.
    pub file_offset: u64,
    /// Device number, as `stat` encodes it.
    pub device: u64,
    /// Inode; 0 where there is no file.
    pub inode: u64,
    /// Path as the kernel writes it, line ends unescaped. A file without a name has ` (deleted)` behind its last one, but
    /// a name may end so too: only the link count of the opened file tells.
    pub path: Vec<u8>,
    /// What it holds.
    pub kind: MappingKind,
}

/// The executable mappings of a process, sorted by start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mappings {
    /// See the type.
    pub executable: Vec<Entry>,
    /// Executable mappings beyond [`MAX_EXECUTABLE`], and lines that could not be read.
    pub dropped: u64,
}

impl Mappings {
    /// Reads the mappings of process `pid`. Those that are not executable cost time, but no memory.
    ///
    /// # Errors
    /// When the file cannot be read, or the process has ended.
    pub fn read(pid: u32) -> io::Result<Self> {
        Self::parse(BufReader::with_capacity(1 << 16, File::open(Procfs::of(pid).path("maps"))?))
    }

    fn parse(mut text: impl BufRead) -> io::Result<Self> {
        let mut mappings = Self::default();
        let mut line = Vec::with_capacity(256);
        loop {
            line.clear();
            if text.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line)? == 0 {
                return Ok(mappings);
            }
            if line.pop_if(|byte| *byte == b'\n').is_none() && line.len() == MAX_LINE {
                mappings.dropped += 1;
                text.skip_until(b'\n')?;
                continue;
            }
            match parse_line(&line) {
                Line::Other => {}
                Line::Executable(entry) if mappings.executable.len() < MAX_EXECUTABLE => {
                    mappings.executable.push(entry)
                }
                Line::Executable(_) | Line::Malformed => mappings.dropped += 1,
            }
        }
    }
}

/// A line of the file.
enum Line {
    Executable(Entry),
    /// Not executable, or not the process's own.
    Other,
    Malformed,
}

fn parse_line(line: &[u8]) -> Line {
    let mut rest = line;
    let mut field = || {
        let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        let (field, tail) = rest.split_at(end);
        rest = tail.strip_prefix(b" ").unwrap_or(tail);
        std::str::from_utf8(field).unwrap_or_default()
    };
    let range = field();
    match field().as_bytes() {
        [_, _, b'x', _] => {}
        [_, _, b'-', _] => return Line::Other,
        _ => return Line::Malformed,
    }
    let (offset, device, inode) = (field(), field(), field());
    let path = unescape(rest.trim_ascii_start());
    executable(range, offset, device, inode, path).unwrap_or(Line::Malformed)
}

fn executable(range: &str, offset: &str, device: &str, inode: &str, path: Vec<u8>) -> Option<Line> {
    let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
    let (start, end) = range.split_once('-')?;
    let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
    let file_offset = hexadecimal(offset)?;
    let (major, minor) = device.split_once(':')?;
    let device = rustix::fs::makedev(u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    let inode: u64 = inode.parse().ok()?;
    let kind = match (inode, path.as_slice()) {
        // Shared by all processes at a fixed address above the user's half.
        (0, b"[vsyscall]") => return Some(Line::Other),
        (0, b"[vdso]") => MappingKind::Vdso,
        (0, b"[uprobes]") => MappingKind::Uprobes,
        (0, _) => MappingKind::Anonymous,
        _ => MappingKind::File,
    };
    (start < end).then_some(Line::Executable(Entry { start, end, file_offset, device, inode, path, kind }))
}

/// The kernel writes a line end in a path as `\012`, and nothing else specially (`show_map_vma` in `fs/proc/task_mmu.c`).
fn unescape(path: &[u8]) -> Vec<u8> {
    const LINE_END: &[u8] = b"\\012";
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(&byte) = rest.first() {
        if let Some(tail) = rest.strip_prefix(LINE_END) {
            plain.push(b'\n');
            rest = tail;
        } else {
            plain.push(byte);
            rest = &rest[1..];
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Mappings {
        Mappings::parse(text).unwrap()
    }

    #[test]
    fn executable_mappings_are_told_apart() {
        let text = b"\
55d0c0a00000-55d0c0a28000 r--p 00000000 fe:00 1311  /usr/bin/node
55d0c0a28000-55d0c0b00000 r-xp 00028000 fe:00 1311                       /usr/bin/node
7f0000000000-7f0000010000 rwxp 00000000 00:00 0 
7f0000010000-7f0000020000 r-xp 00000000 00:00 0                          [anon: js code]
7f0000020000-7f0000021000 --xp 00000000 00:01 2057                       /memfd:jit (deleted)
7fff00000000-7fff00002000 r-xp 00000000 00:00 0                          [vdso]
7fffffffe000-7ffffffff000 --xp 00000000 00:00 0                          [uprobes]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";
        let mappings = parse(text);
        let kinds: Vec<_> = mappings.executable.iter().map(|entry| entry.kind).collect();
        use MappingKind::*;
        assert_eq!(kinds, [File, Anonymous, Anonymous, File, Vdso, Uprobes]);
        let node = &mappings.executable[0];
        assert_eq!((node.start, node.end, node.file_offset), (0x55d0_c0a2_8000, 0x55d0_c0b0_0000, 0x28000));
        assert_eq!(
            (node.device, node.inode, node.path.as_slice()),
            (rustix::fs::makedev(0xfe, 0), 1311, &b"/usr/bin/node"[..])
        );
        assert_eq!(mappings.executable[3].path, b"/memfd:jit (deleted)");
        assert_eq!(mappings.dropped, 0);
    }

    #[test]
    fn strange_names_survive() {
        let text =
            b"1000-2000 r-xp 0 08:01 7      /tmp/a b \\012[vdso]\\\xff (deleted)\n3000-4000 r-xp 0 08:01 8 [vdso]\n";
        let mappings = parse(text);
        assert_eq!(mappings.executable[0].path, b"/tmp/a b \n[vdso]\\\xff (deleted)");
        // A file may be called so; only a mapping without inode is the kernel's.
        assert!(mappings.executable.iter().all(|entry| entry.kind == MappingKind::File));
    }

    #[test]
    fn bad_lines_are_counted_and_skipped() {
        let mut text = b"zz-2000 r-xp 0 08:01 7 /a\n1000 r-xp 0 08:01 7 /a\n2000-1000 r-xp 0 08:01 7 /a\n\n".to_vec();
        text.extend_from_slice(b"1000-2000 r-xp 0 08:01 7 /");
        text.resize(text.len() + 3 * MAX_LINE, b'x');
        text.extend_from_slice(b"\n1000-2000 r-xp 0 08:01 7 /ok");
        let mappings = parse(&text);
        assert_eq!((mappings.executable.len(), mappings.dropped), (1, 5));
        assert_eq!(mappings.executable[0].path, b"/ok");
    }

    #[test]
    fn more_than_the_limit_is_counted() {
        let text: String =
            (1..=MAX_EXECUTABLE + 5).map(|page| format!("{page:x}000-{page:x}fff r-xp 0 0:0 0\n")).collect();
        let mappings = parse(text.as_bytes());
        assert_eq!((mappings.executable.len(), mappings.dropped), (MAX_EXECUTABLE, 5));
    }

    #[test]
    fn own_mappings_hold_this_code() {
        let address = own_mappings_hold_this_code as fn() as usize as u64;
        let mappings = Mappings::read(std::process::id()).unwrap();
        let entry = mappings.executable.iter().find(|entry| (entry.start..entry.end).contains(&address)).unwrap();
        assert_eq!(entry.kind, MappingKind::File);
        assert!(mappings.executable.iter().any(|entry| entry.kind == MappingKind::Vdso));
    }
}
