//! What the stages of a run cost: `--verbose`.

use std::{fs, mem::MaybeUninit, time::Instant};

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

    /// Does `work`, and says how long it took by the clock and in CPU time, that of ended children included, and how much
    /// memory tracer had at most meanwhile.
    pub fn time<T>(self, stage: &str, work: impl FnOnce() -> T) -> T {
        if !self.shown {
            return work();
        }
        // Starts the record of the peak anew (proc_pid_clear_refs(5)); where that is refused the peak is that of the run.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let (start, cpu) = (Instant::now(), cpu_ms());
        let result = work();
        let (elapsed, cpu) = (start.elapsed().as_secs_f64() * 1e3, cpu_ms() - cpu);
        eprintln!("stage     {stage} {elapsed:.1} ms, {cpu:.1} ms CPU, {} MiB at most", peak_kib() >> 10);
        result
    }

    /// Says what only who asked for much wants to read.
    pub fn say(self, text: impl FnOnce() -> String) {
        if self.shown {
            eprintln!("{}", text());
        }
    }

    /// Says how much memory the largest of the confined readers had.
    pub fn children(self) {
        if self.shown {
            eprintln!("stage     (confined readers: {} MiB at most)", usage(libc::RUSAGE_CHILDREN).ru_maxrss >> 10);
        }
    }
}

/// CPU time of all threads and of children that have ended.
fn cpu_ms() -> f64 {
    let of = |who| {
        let usage = usage(who);
        [usage.ru_utime, usage.ru_stime].map(|time| time.tv_sec as f64 * 1e3 + time.tv_usec as f64 / 1e3).iter().sum()
    };
    let (own, children): (f64, f64) = (of(libc::RUSAGE_SELF), of(libc::RUSAGE_CHILDREN));
    own + children
}

/// getrusage(2).
fn usage(who: libc::c_int) -> libc::rusage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: a valid place for the result. It fails for an unknown `who` only, and the result stays zero then.
    unsafe { libc::getrusage(who, usage.as_mut_ptr()) };
    // SAFETY: all zeroes are a valid value, and the kernel writes valid ones.
    unsafe { usage.assume_init() }
}

/// `VmHWM` of proc_pid_status(5).
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
