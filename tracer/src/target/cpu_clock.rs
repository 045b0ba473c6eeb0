//! CPU time of processes.

use std::{collections::BTreeMap, fs, time::Duration};

/// Above so many threads, running ones are not asked one by one.
const MAX_THREADS: usize = 64;

/// The CPU time of a set of processes that only grows; those that have ended keep what they were last seen to have.
#[derive(Clone, Debug, Default)]
pub struct CpuClocks {
    processes: BTreeMap<u32, Duration>,
    /// Of processes that were taken out of the set.
    gone: Duration,
}

impl CpuClocks {
    /// Takes in processes that are new and takes out those that are not named.
    pub fn follow(&mut self, processes: &[u32]) {
        for &process in processes {
            self.processes.entry(process).or_insert_with(|| process_clock(process).unwrap_or_default());
        }
        let gone = &mut self.gone;
        self.processes.retain(|process, last| {
            let stays = processes.contains(process);
            if !stays {
                *gone += process_clock(*process).unwrap_or(*last).max(*last);
            }
            stays
        });
    }

    /// CPU time of all, user and kernel. What a thread has used since the last tick or switch of its CPU is missing: up to
    /// some milliseconds.
    pub fn now(&mut self) -> Duration {
        for (process, last) in &mut self.processes {
            *last = process_clock(*process).unwrap_or_default().max(*last);
        }
        self.gone + self.processes.values().sum::<Duration>()
    }

    /// CPU time between two moments, to the nanosecond where there are few threads. To be asked for what has passed.
    pub fn stopwatch(&mut self) -> Stopwatch {
        Stopwatch { begin: self.now(), threads: self.threads() }
    }

    /// By thread; `None` where there are too many.
    fn threads(&self) -> Option<BTreeMap<u32, Duration>> {
        let mut threads = BTreeMap::new();
        for process in self.processes.keys() {
            let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
            for thread in tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()) {
                if threads.len() == MAX_THREADS {
                    return None;
                }
                threads.extend(thread_clock(thread).map(|time| (thread, time)));
            }
        }
        Some(threads)
    }
}

/// See [`CpuClocks::stopwatch`].
#[derive(Clone, Debug)]
pub struct Stopwatch {
    begin: Duration,
    threads: Option<BTreeMap<u32, Duration>>,
}

impl Stopwatch {
    /// CPU time since it was started. Threads that have ended meanwhile are missing where all are asked one by one.
    pub fn passed(&self, clocks: &mut CpuClocks) -> Duration {
        match (&self.threads, self.threads.as_ref().and_then(|_| clocks.threads())) {
            (Some(begin), Some(end)) => end
                .iter()
                .map(|(thread, time)| time.saturating_sub(begin.get(thread).copied().unwrap_or_default()))
                .sum(),
            _ => clocks.now().saturating_sub(self.begin),
        }
    }
}

/// `CPUCLOCK_SCHED` of include/linux/posix-timers_types.h.
const CPUCLOCK_SCHED: i32 = 2;
/// `CPUCLOCK_PERTHREAD_MASK` of the same.
const CPUCLOCK_PERTHREAD: i32 = 4;

/// See clock_getcpuclockid(3). `None` when it has ended.
fn process_clock(process: u32) -> Option<Duration> {
    clock(process, CPUCLOCK_SCHED)
}

/// See pthread_getcpuclockid(3); here of any thread. The kernel brings the time of a running thread up to date
/// (`task_sched_runtime`), which it does not do for a process (`thread_group_cputime`).
fn thread_clock(thread: u32) -> Option<Duration> {
    clock(thread, CPUCLOCK_SCHED | CPUCLOCK_PERTHREAD)
}

fn clock(id: u32, kind: i32) -> Option<Duration> {
    let id = !i32::try_from(id).ok()? << 3 | kind;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place for the result.
    let result = unsafe { libc::clock_gettime(id, &raw mut time) };
    (result == 0).then(|| Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn burn(time: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < time {
            std::hint::black_box(0);
        }
    }

    #[test]
    fn work_shows_and_sleep_does_not() {
        let own = std::process::id();
        let mut clocks = CpuClocks::default();
        clocks.follow(&[own]);
        let (before, stopwatch) = (clocks.now(), clocks.stopwatch());
        let used = thread_clock_of_this_thread();
        burn(Duration::from_millis(30));
        let used = thread_clock_of_this_thread() - used;
        // Other tests run in threads of this process.
        assert!(stopwatch.passed(&mut clocks) >= used);
        assert!(clocks.now() - before >= used);
    }

    fn thread_clock_of_this_thread() -> Duration {
        thread_clock(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()).unwrap()
    }

    #[test]
    fn a_process_that_has_ended_keeps_its_time() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; read x"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut clocks = CpuClocks::default();
        clocks.follow(&[child.id()]);
        while clocks.now() < Duration::from_millis(4) {
            std::thread::yield_now();
        }
        let before = clocks.now();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(clocks.now() >= before);
        clocks.follow(&[]);
        assert!(clocks.now() >= before);
    }
}
