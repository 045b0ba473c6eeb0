//! What `/proc/PID/stat` and `/proc/PID/status` say of a process.

use super::printable;

/// The fields of `/proc/PID/stat` that are used here.
#[derive(Debug, PartialEq, Eq)]
pub struct Stat {
    pub name: String,
    pub state: u8,
    pub flags: u64,
    pub threads: u32,
    pub start_time: u64,
}

impl Stat {
    /// The name may hold any byte but zero, parentheses and line ends too; no later field has a parenthesis.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|&byte| byte == b'(')?;
        let close = text.iter().rposition(|&byte| byte == b')')?;
        let name = printable(text.get(open + 1..close)?);
        let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc_pid_stat(5) counts from 1; the first field behind the name is number 3.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            name,
            state: *field(3)?.as_bytes().first()?,
            flags: field(9)?.parse().ok()?,
            threads: field(20)?.parse().ok()?,
            start_time: field(22)?.parse().ok()?,
        })
    }
}

/// The fields of `/proc/PID/status` that are used here.
#[derive(Debug, PartialEq, Eq)]
pub struct Status {
    pub process: u32,
    pub uid: u32,
    pub namespace_pid: u32,
}

impl Status {
    /// Line ends in the name are escaped here (`proc_task_name` in `fs/proc/array.c`), so lines can be trusted.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let field = |name: &str, index: usize| -> Option<u32> {
            let line = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(name.as_bytes()))?;
            let mut values = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
            if index == usize::MAX { values.next_back() } else { values.nth(index) }?.parse().ok()
        };
        let process = field("Tgid:", 0)?;
        Some(Self {
            process,
            uid: field("Uid:", 1)?,
            // The innermost namespace is last. Kernels without pid namespaces have no such line.
            namespace_pid: field("NStgid:", usize::MAX).unwrap_or(process),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_traps_is_parsed() {
        let text = b"42 (a) R 1\n(\xff) S 1 1 1 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 3 0 98765 0 0\n";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(stat.name, "a) R 1\u{fffd}(\u{fffd}");
        assert_eq!((stat.state, stat.threads, stat.start_time), (b'S', 3, 98765));
    }

    #[test]
    fn malformed_files_are_refused() {
        for text in ["", "1", "1 (", "1 )x(", "1 (x) S 1 1", "1 (x) S 1 1 1 0 -1 x 1 2 3 4 5 6 7 8 9 0 3 0 9 9"] {
            assert_eq!(Stat::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Status::parse(b"Name:\tx\nTgid:\tabc\n"), None);
    }

    #[test]
    fn status_names_the_innermost_namespace_last() {
        let text = b"Name:\tx\\nTgid: 1\xfe\nTgid:\t70\nPid:\t71\nUid:\t1000\t1001\t1002\t1003\nNStgid:\t70\t12\t1\n";
        assert_eq!(Status::parse(text), Some(Status { process: 70, uid: 1001, namespace_pid: 1 }));
    }
}
