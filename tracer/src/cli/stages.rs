//! What the stages of a run cost: `--verbose`.

use std::{fs, time::Instant};

/// See the module. Writes to stderr.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    shown: bool,
}

impl Stages {
    /// `shown`: whether to say anything.
    pub fn new(shown: bool) -> Self {
        Self { shown }
    }

    /// Does `work`, and says how long it took and how much memory tracer had at most meanwhile.
    pub fn time<T>(self, stage: &str, work: impl FnOnce() -> T) -> T {
        if !self.shown {
            return work();
        }
        // Starts the record of the peak anew (proc_pid_clear_refs(5)); where that is refused the peak is that of the run.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let start = Instant::now();
        let result = work();
        let elapsed = start.elapsed().as_secs_f64() * 1e3;
        eprintln!("stage     {stage} {elapsed:.1} ms, {} MiB at most", peak_kib() >> 10);
        result
    }

    /// Says how much memory the largest of the confined readers had.
    pub fn children(self) {
        if self.shown {
            let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
            // SAFETY: a valid place for the result.
            let failed = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) } != 0;
            // SAFETY: all zeroes are a valid value, and the kernel writes valid ones.
            let usage = unsafe { usage.assume_init() };
            if !failed {
                eprintln!("stage     (confined readers: {} MiB at most)", usage.ru_maxrss >> 10);
            }
        }
    }
}

/// `VmHWM` of proc_pid_status(5).
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
