//! What a hit costs on this machine, measured at start: a child of tracer's own calls functions of its own in a loop, with a
//! probe on them and without, and reads its CPU clock.

use std::{
    arch::naked_asm,
    hint::black_box,
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    num::NonZeroU32,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, WaitOptions, getpid, kill_process, set_parent_process_death_signal, waitpid},
    time::{ClockId, clock_gettime},
};
use tracer_ebpf::abi::{
    allocation::{CALIBRATION_SLOT, Cookie, Delegates, SizeFrom},
    exponential::MAX_INTERVAL,
};

use super::{
    multi::{MultiError, Point},
    own::{EXECUTABLE, file_offset},
    settings::SharedSettings,
    uprobes::{AttachError, Probes},
};
use crate::{allocators::Execution, estimate::band::Band, symbolize::confine::block_signals};

/// What a hit costs that is not sampled, by what the kernel does with the instruction under the breakpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// It emulates it.
    pub emulated: Band,
    /// It single-steps a copy.
    pub stepped: Band,
}

/// Why there is no calibration.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The child.
    #[error("a child process cannot be measured: {0}")]
    Child(#[from] io::Error),
    /// Its probes.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The same, by multi link.
    #[error(transparent)]
    Multi(#[from] MultiError),
    /// The settings of the programs.
    #[error("BPF map: {0}")]
    Map(#[from] aya::maps::MapError),
}

/// Periods that are measured of each function.
const PERIODS: usize = 41;
/// Calls in a period, of a function that is emulated and of one that is stepped: 300 to 1,000 µs.
const CALLS: [u32; 2] = [500, 100];
/// How long the child may take at most. It takes about 50 ms.
const PATIENCE: Duration = Duration::from_secs(3);
/// In busy programs a hit costs 0.7 to 1.6 times what it costs in a loop that does nothing else: caches. Of those that sleep between
/// bursts, where it costs more, windows tell ([`crate::estimate::excess`]).
const BEYOND_THE_LOOP: [f64; 2] = [0.7, 1.6];
/// What it costs there in the mean: loops with work of 0.6 to 3 µs between calls, of which it is known how often they call, showed
/// 1.05 to 1.35 times as much.
const MEAN_BEYOND_THE_LOOP: f64 = 1.15;

/// Nanoseconds of CPU time a call, by function and period.
type Measured = [[f64; PERIODS]; 2];

/// The push is what most allocators begin with; emulated as `branch_emulate_op` and `push_emulate_op` of
/// arch/x86/kernel/uprobes.c do.
#[unsafe(naked)]
extern "C" fn emulated(_size: u64) {
    naked_asm!("push rbp", "pop rbp", "ret")
}

#[unsafe(naked)]
extern "C" fn stepped(_size: u64) {
    naked_asm!("mov rax, rdi", "ret")
}

const FUNCTIONS: [extern "C" fn(u64); 2] = [emulated, stepped];

impl Calibration {
    /// Measures. Meanwhile no other probe may be attached, since hits count as those of a recording do; what they counted
    /// is in the counter [`CALIBRATION_SLOT`].
    ///
    /// # Errors
    /// See [`CalibrationError`].
    pub fn measure<E: Into<CalibrationError>>(
        settings: &SharedSettings,
        attach: impl FnOnce(&Path, &[Point], Option<NonZeroU32>) -> Result<Probes, E>,
    ) -> Result<Self, CalibrationError> {
        let mut child = Measurable::fork()?;
        let alone = child.measure()?;
        let cookie = Cookie::new(CALIBRATION_SLOT, SizeFrom::Argument0, Delegates::Never, 0).0;
        let mut points = Vec::with_capacity(FUNCTIONS.len());
        for function in FUNCTIONS {
            points.push(Point { file_offset: file_offset(function as usize)?, cookie });
        }
        let before = settings.get();
        let pid = NonZeroU32::new(child.pid.as_raw_nonzero().get().cast_unsigned());
        let probes = attach(Path::new(EXECUTABLE), &points, pid).map_err(Into::into)?;
        // The whole path of a hit that is not sampled.
        settings.change(|settings| {
            (settings.enabled, settings.interval, settings.follow_children) = (1, MAX_INTERVAL, 0)
        })?;
        let probed = child.measure();
        settings.change(|settings| {
            settings.enabled = before.enabled;
            settings.interval = before.interval;
            settings.follow_children = before.follow_children;
        })?;
        drop(child);
        // Takes tens of milliseconds, for which nobody needs to wait.
        std::thread::spawn(move || drop(probes));
        let probed = probed?;
        let [emulated, stepped] = [0, 1].map(|function| band(&alone[function], &probed[function]));
        Ok(Self { emulated, stepped })
    }

    /// What it is where it cannot be measured: anything that was ever seen.
    pub fn unknown() -> Self {
        Self {
            emulated: Band { low: 150.0, mid: 600.0, high: 2_000.0 },
            stepped: Band { low: 500.0, mid: 2_000.0, high: 10_000.0 },
        }
    }

    /// The cost of a hit whose instruction the kernel treats so.
    pub fn of(&self, execution: Execution) -> Band {
        match execution {
            Execution::Stepped => self.stepped,
            // Cheaper than emulated; by how much is not measured.
            Execution::Emulated | Execution::Rewritten => self.emulated,
        }
    }
}

/// From the periods with and without a probe.
fn band(alone: &[f64; PERIODS], probed: &[f64; PERIODS]) -> Band {
    let sorted = |periods: &[f64; PERIODS]| {
        let mut periods = *periods;
        periods.sort_by(f64::total_cmp);
        periods
    };
    let (alone, probed) = (sorted(alone), sorted(probed));
    let base = alone[PERIODS / 2];
    let at = |tenths: usize| (probed[PERIODS * tenths / 10] - base).max(1.0);
    Band { low: at(1) * BEYOND_THE_LOOP[0], mid: MEAN_BEYOND_THE_LOOP * at(5), high: at(9) * BEYOND_THE_LOOP[1] }
}

/// A child that measures itself when it is asked to. Killed when dropped.
struct Measurable {
    pid: Pid,
    ask: PipeWriter,
    answer: PipeReader,
}

impl Measurable {
    fn fork() -> io::Result<Self> {
        let (question, ask) = io::pipe()?;
        let (answer, report) = io::pipe()?;
        let parent = getpid();
        // SAFETY: the child allocates nothing, takes no lock, and leaves through `_exit`.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => serve(parent, question, report),
            pid => {
                let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
                Ok(Self { pid, ask, answer })
            }
        }
    }

    fn measure(&mut self) -> io::Result<Measured> {
        self.ask.write_all(&[1])?;
        let mut bytes = [0; size_of::<Measured>()];
        let mut filled = 0;
        let deadline = Instant::now() + PATIENCE;
        while let Some(space) = bytes.get_mut(filled..).filter(|space| !space.is_empty()) {
            let left = deadline.checked_duration_since(Instant::now()).ok_or(io::ErrorKind::TimedOut)?;
            let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            if poll(&mut [PollFd::new(&self.answer, PollFlags::IN)], Some(&left))? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.answer.read(space)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        let mut measured = [[0.0; PERIODS]; 2];
        for (to, from) in measured.as_flattened_mut().iter_mut().zip(bytes.as_chunks().0) {
            *to = f64::from_ne_bytes(*from);
        }
        Ok(measured)
    }
}

impl Drop for Measurable {
    fn drop(&mut self) {
        // Both fail only when it has ended, and was waited for, by other means.
        let _ = kill_process(self.pid, Signal::KILL);
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
    }
}

/// The child.
fn serve(parent: Pid, question: PipeReader, report: PipeWriter) -> ! {
    // When tracer is killed, nothing of it may go on.
    let tied = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    if tied && rustix::process::getppid() == Some(parent) && block_signals().is_ok() {
        let (mut question, mut report) = (question, report);
        while matches!(question.read(&mut [0]), Ok(1)) {
            let measured = measure();
            let mut bytes = [0; size_of::<Measured>()];
            for (to, from) in bytes.as_chunks_mut().0.iter_mut().zip(measured.as_flattened()) {
                *to = from.to_ne_bytes();
            }
            if report.write_all(&bytes).is_err() {
                break;
            }
        }
    }
    // SAFETY: ends this process without running what others registered.
    unsafe { libc::_exit(0) }
}

fn measure() -> Measured {
    let mut measured = [[0.0; PERIODS]; 2];
    for ((function, calls), periods) in FUNCTIONS.into_iter().zip(CALLS).zip(&mut measured) {
        // The first call after a probe came copies a page.
        period(function, calls);
        for place in periods {
            *place = period(function, calls) as f64 / f64::from(calls);
        }
    }
    measured
}

/// Nanoseconds of CPU time for so many calls.
fn period(function: extern "C" fn(u64), calls: u32) -> u64 {
    let begin = cpu_ns();
    for _ in 0..calls {
        // One byte: it is never sampled, as the mean between samples is 4 GiB.
        black_box(function)(black_box(1));
    }
    cpu_ns() - begin
}

fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_band_leaves_out_the_loop_and_outliers() {
        let (mut alone, mut probed) = ([2.0; PERIODS], [602.0; PERIODS]);
        (alone[0], probed[0], probed[1], probed[2]) = (900.0, 90_000.0, 10.0, 0.0);
        let Band { low, mid, high } = band(&alone, &probed);
        assert_eq!([low, mid, high].map(f64::round), [420.0, 690.0, 960.0]);
    }

    #[test]
    fn a_child_measures_itself() {
        let mut child = Measurable::fork().unwrap();
        let [emulated, stepped] = child.measure().unwrap();
        // A call takes time, however little; nothing is under it that takes more than a few instructions.
        assert!(emulated.iter().chain(&stepped).all(|&ns| (0.0..1e6).contains(&ns)), "{emulated:?} {stepped:?}");
        assert!(emulated.iter().any(|&ns| ns > 0.0));
        child.measure().unwrap();
    }
}
