//! Resident memory of the traced processes: what of it live blocks explain, and what they do not, is for the reader to see.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::target::{Process, Procfs};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    begin: u64,
    /// For targets that are gone at the end.
    last: u64,
    read: Instant,
}

/// Between two looks at targets that may end.
const REST: Duration = Duration::from_secs(1);

impl Resident {
    /// At the begin of a recording.
    pub fn begin(targets: &[Process]) -> Self {
        let begin = sum(targets, exact).unwrap_or(0);
        Self { begin, last: begin, read: Instant::now() }
    }

    /// Every now and then.
    pub fn observe(&mut self, targets: &[Process]) {
        if self.read.elapsed() >= REST {
            self.last = sum(targets, quick).unwrap_or(self.last);
            self.read = Instant::now();
        }
    }

    /// Bytes at the begin and at the end, or shortly before where all targets have ended.
    pub fn end(self, targets: &[Process]) -> [u64; 2] {
        [self.begin, sum(targets, exact).unwrap_or(self.last)]
    }
}

/// Over the processes that can be read; `None` when there is none.
fn sum(targets: &[Process], of: fn(u32) -> Option<u64>) -> Option<u64> {
    targets.iter().filter_map(|target| of(target.pid)).reduce(u64::saturating_add)
}

/// `Rss` of smaps_rollup, which walks the page tables (proc_pid_smaps(5)).
fn exact(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(Procfs::of(pid).path("smaps_rollup")).ok()?;
    kilobytes(&text)?.checked_mul(1024)
}

fn kilobytes(smaps: &str) -> Option<u64> {
    let value = smaps.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The second number of statm, in pages: a little behind, but nothing has to wait for it.
fn quick(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(Procfs::of(pid).path("statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    // A process that has ended has a line of zeros until its parent has asked for it.
    (pages > 0).then_some(pages)?.checked_mul(rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_say_about_the_same() {
        let pid = std::process::id();
        let (exact, quick) = (exact(pid).unwrap() as f64, quick(pid).unwrap() as f64);
        assert!((0.5..2.0).contains(&(exact / quick)), "{exact} {quick}");
        assert_eq!(super::quick(u32::MAX), None);
    }

    #[test]
    fn the_number_is_found_among_others() {
        let text =
            "5555-7fff ---p 00000000 00:00 0    [rollup]\nRss:                 884 kB\nPss:                 385 kB\n";
        assert_eq!(kilobytes(text), Some(884));
        assert_eq!(kilobytes("Pss: 3 kB\n"), None);
    }
}
