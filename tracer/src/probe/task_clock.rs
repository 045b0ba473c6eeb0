//! CPU time of threads between two moments, to the nanosecond.
//!
//! The CPU clock of a process lacks what its running threads have used since the last tick of their CPUs
//! (`thread_group_cputime`, kernel/sched/cputime.c): up to four milliseconds, which is as long as a short window. A software
//! event (`PERF_COUNT_SW_TASK_CLOCK`) on each thread is read where the thread runs.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use super::perf_event::{self, Attribute, PERF_TYPE_SOFTWARE};

/// More threads are not watched one by one.
const MAX_THREADS: usize = 128;

const PERF_COUNT_SW_TASK_CLOCK: u64 = 1;
/// `inherit` of `perf_event_attr` (include/uapi/linux/perf_event.h): threads that are made from now on count, too.
const INHERIT: u64 = 1 << 1;

/// Clocks of the threads of some processes, which started when this was made.
#[derive(Debug)]
pub struct TaskClocks {
    threads: Vec<OwnedFd>,
}

impl TaskClocks {
    /// Starts them. `None` where there are too many threads, or the kernel has no such clocks.
    pub fn start(processes: impl Iterator<Item = u32>) -> Option<Self> {
        let mut threads = Vec::new();
        for process in processes {
            let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
            for thread in tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()) {
                if threads.len() == MAX_THREADS {
                    return None;
                }
                match open(thread) {
                    Ok(clock) => threads.push(clock),
                    // It has ended.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    Err(_) => return None,
                }
            }
        }
        Some(Self { threads })
    }

    /// One of the calling thread. While it is there, others start at once: the first clock of a task on the machine has the kernel wait
    /// for a grace period, tens of milliseconds (`account_event` in kernel/events/core.c), and so has the next one a second after the last
    /// is gone.
    pub fn of_caller() -> Option<Self> {
        open(0).ok().map(|clock| Self { threads: vec![clock] })
    }

    /// Nanoseconds of all, those that have ended included.
    pub fn passed(&self) -> u64 {
        self.threads.iter().filter_map(read).sum()
    }
}

fn open(thread: i32) -> io::Result<OwnedFd> {
    let attribute = Attribute::of(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK, INHERIT);
    perf_event::open(&attribute, thread, -1)
}

fn read(clock: &OwnedFd) -> Option<u64> {
    let mut value = [0; 8];
    // SAFETY: as many bytes as the buffer has.
    let read = unsafe { libc::read(clock.as_raw_fd(), value.as_mut_ptr().cast(), value.len()) };
    (read == 8).then(|| u64::from_ne_bytes(value))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn new_threads_count_and_sleep_does_not() {
        let Some(clocks) = TaskClocks::start(std::iter::once(std::process::id())) else {
            eprintln!("skipped: the kernel has no task clocks for this user");
            return;
        };
        let used = std::thread::spawn(|| {
            let own = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(20) {
                std::hint::black_box(0);
            }
            let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            (now.tv_sec - own.tv_sec) * 1_000_000_000 + now.tv_nsec - own.tv_nsec
        });
        let used = used.join().unwrap().cast_unsigned();
        assert!(clocks.passed() >= used, "{} of {used}", clocks.passed());
        let none = TaskClocks::start(std::iter::empty()).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(none.passed(), 0);
    }
}
