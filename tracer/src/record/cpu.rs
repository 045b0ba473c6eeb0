//! CPU time of the traced processes as the kernel accounts for it: exact, and what samples of CPU time are held against.

use crate::{probe::kernel_event::KernelEvent, recording::about::CpuTime, target::Process};

/// See the module.
#[derive(Debug, Default)]
pub struct CpuClocks {
    period_ns: Option<u64>,
    /// The clock of each process, and what it said at the beginning.
    clocks: Vec<(libc::clockid_t, Option<u64>)>,
}

impl CpuClocks {
    /// Reads the clocks of the processes, where CPU time is sampled. With `children` they would not say all: a child may end, and
    /// its clock with it, at any time.
    pub fn begin(&mut self, event: KernelEvent, targets: &[Process], children: bool) {
        let KernelEvent::Cpu { period_ns } = event else { return };
        self.period_ns = Some(period_ns);
        let read = |clock| (clock, read(clock).filter(|_| !children));
        self.clocks = targets.iter().map(|target| read(clock(target.pid))).collect();
    }

    /// Reads them again.
    pub fn finish(&self) -> Option<CpuTime> {
        let elapsed = |&(clock, begun): &(_, Option<u64>)| Some(read(clock)?.saturating_sub(begun?));
        Some(CpuTime { period_ns: self.period_ns?, accounted_ns: self.clocks.iter().map(elapsed).sum() })
    }
}

/// The CPU clock of a process, all its threads together, ended ones too. `clock_getcpuclockid(3)` gives the same number, which is
/// ABI (`MAKE_PROCESS_CPUCLOCK`, include/linux/posix-timers_types.h).
fn clock(process: u32) -> libc::clockid_t {
    const CPUCLOCK_SCHED: libc::clockid_t = 2;
    !(process as libc::clockid_t) << 3 | CPUCLOCK_SCHED
}

/// Nanoseconds; `None` when the process is gone.
fn read(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place for the result.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (result == 0).then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_of_processes_run_with_their_work() {
        let own = clock(std::process::id());
        let begun = read(own).unwrap();
        let work = std::hint::black_box((0..1_000_000u64).fold(1u64, |a, b| a.wrapping_mul(b | 1)));
        assert!(read(own).unwrap() > begun, "{work}");
        assert_eq!(read(clock(1 << 22)), None);
    }
}
