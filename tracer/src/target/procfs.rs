//! Where `/proc` shows a process's memory and files.
//!
//! Under its own number as a rule. When the main thread has ended and others go on, nothing is left there: the files that a thread
//! has for itself show the same.

use std::fs;

/// Threads that are looked at, of a process whose main one has ended. Others than that are gone as soon as they have ended: the first
/// shows what is wanted unless it ends just now.
const THREADS: usize = 16;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Procfs {
    process: u32,
    thread: u32,
}

impl Procfs {
    /// Of a process. Where no thread shows anything it is what the main one shows.
    pub fn of(process: u32) -> Self {
        let main = Self { process, thread: process };
        // It leads nowhere where there is no memory (`proc_exe_link` in fs/proc/base.c).
        let has_memory = |shown: &Self| fs::read_link(shown.path("exe")).is_ok();
        if has_memory(&main) {
            return main;
        }
        let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        let threads = threads.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        threads.take(THREADS).map(|thread| Self { process, thread }).find(has_memory).unwrap_or(main)
    }

    /// The path of a file.
    pub fn path(self, file: &str) -> String {
        let Self { process, thread } = self;
        if thread == process {
            format!("/proc/{process}/{file}")
        } else {
            format!("/proc/{process}/task/{thread}/{file}")
        }
    }

    /// The path of the link to a mapped file. Threads have it only where processes have theirs: the number may have gone to another
    /// process meanwhile, which the caller sees by the file.
    pub fn mapped_file(self, start: u64, end: u64) -> String {
        format!("/proc/{}/map_files/{start:x}-{end:x}", self.thread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_process_is_shown_by_itself() {
        let process = std::process::id();
        assert_eq!(Procfs::of(process).path("maps"), format!("/proc/{process}/maps"));
        assert_eq!(Procfs::of(u32::MAX).path("maps"), format!("/proc/{}/maps", u32::MAX));
    }
}
