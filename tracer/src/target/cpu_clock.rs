//! CPU time of processes.

use std::{collections::BTreeMap, time::Duration};

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

    /// The processes.
    pub fn processes(&self) -> impl Iterator<Item = u32> {
        self.processes.keys().copied()
    }
}

/// `CPUCLOCK_SCHED` of include/linux/posix-timers_types.h.
const CPUCLOCK_SCHED: i32 = 2;

/// See clock_getcpuclockid(3). `None` when it has ended.
fn process_clock(process: u32) -> Option<Duration> {
    let id = !i32::try_from(process).ok()? << 3 | CPUCLOCK_SCHED;
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
        let before = clocks.now();
        let own = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let begin = own();
        burn(Duration::from_millis(30));
        let end = own();
        let used = (end.tv_sec - begin.tv_sec) * 1_000_000_000 + end.tv_nsec - begin.tv_nsec;
        // Other tests run in threads of this process.
        assert!(clocks.now() - before >= Duration::from_nanos(used.cast_unsigned()));
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
