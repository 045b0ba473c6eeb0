//! What a recording cost: the target, and tracer itself.

use std::{fs, io, mem::MaybeUninit, num::NonZeroU32, path::Path, thread::JoinHandle, time::Duration};

use super::windows::handle::Ended;
use crate::{
    estimate::{band::Band, excess},
    probe::{
        attacher::Attacher,
        calibration::{Calibration, CalibrationError},
        multi::Point,
        programs::Programs,
        uprobes::Probes,
    },
    recording::about::Cost,
};

/// Slower than this is not told apart.
const MOST_SLOWDOWN: f64 = 1000.0;

/// The cost of a hit, measured while other things are prepared.
pub struct Calibrating {
    running: Option<JoinHandle<Result<Calibration, CalibrationError>>>,
    calibration: Calibration,
    /// Why it could not be measured.
    pub failure: Option<String>,
}

impl Calibrating {
    /// Nothing is to be measured: there are no allocation probes.
    pub fn none() -> Self {
        Self { running: None, calibration: Calibration::unknown(), failure: None }
    }

    /// Begins. Until [`wait`](Self::wait) has returned no allocation probe may be attached.
    pub fn begin(programs: &mut Programs) -> Self {
        let mut calibrating = Self::none();
        let settings = programs.maps.settings.clone();
        let Some(program) = programs.allocation() else {
            let attach = |path: &Path, points: &[Point], pid| programs.attach(path, points, pid);
            calibrating.finish(Calibration::measure(&settings, attach));
            return calibrating;
        };
        let work = move || {
            Calibration::measure(&settings, |path, points, pid| {
                program.attach(path, points, pid.map(NonZeroU32::get)).map(Probes::Multi)
            })
        };
        match std::thread::Builder::new().name("calibration".to_owned()).spawn(work) {
            Ok(thread) => calibrating.running = Some(thread),
            Err(error) => calibrating.finish(Err(error.into())),
        }
        calibrating
    }

    /// What a hit costs; a very wide band where it could not be measured.
    pub fn wait(&mut self) -> Calibration {
        if let Some(thread) = self.running.take() {
            let panicked = |_| Err(CalibrationError::Child(io::ErrorKind::Other.into()));
            let measured = thread.join().unwrap_or_else(panicked);
            self.finish(measured);
        }
        self.calibration
    }

    fn finish(&mut self, measured: Result<Calibration, CalibrationError>) {
        match measured {
            Ok(calibration) => self.calibration = calibration,
            Err(error) => {
                let assumed = self.calibration.emulated;
                self.failure = Some(format!(
                    "what a hit costs could not be measured ({error}); taken to be {} to {} ns",
                    assumed.low, assumed.high
                ));
            }
        }
    }
}

/// What tracer itself used, with the process that attaches for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// CPU time of all threads so far.
    cpu: Duration,
}

impl Own {
    /// So far.
    pub fn now(attacher: &Attacher) -> Self {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: a valid place for the result.
        unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
        // SAFETY: all zeroes are a valid value, and the kernel writes valid ones.
        let usage = unsafe { usage.assume_init() };
        let of = |time: libc::timeval| Duration::new(time.tv_sec.cast_unsigned(), 1000 * time.tv_usec as u32);
        Self { cpu: of(usage.ru_utime) + of(usage.ru_stime) + attacher.cpu() }
    }

    /// Resident memory at most, in bytes (`VmHWM` of proc_pid_status(5)). The attaching process has what it has all the time.
    fn peak(attacher: &Attacher) -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0);
        (kib << 10) + attacher.private_bytes()
    }
}

/// Adds it up. `before` is what tracer had used when the recording began, which took `duration`.
pub fn cost(ended: &Ended, budget: Option<f64>, duration: Duration, before: Own, attacher: &Attacher) -> Cost {
    // The other process's clock is gone with it.
    let tracer_cpu_ns = Own::now(attacher).cpu.saturating_sub(before.cpu).as_nanos() as u64;
    Cost { tracer_cpu_ns, tracer_peak_bytes: Own::peak(attacher), ..cost_in_target(ended, budget, duration) }
}

fn cost_in_target(ended: &Ended, budget: Option<f64>, duration: Duration) -> Cost {
    let Ended { outcome, sums, hit } = ended;
    let hits = sums.hits as f64;
    let sampling_ns = if sums.hits > 0 { 1e9 * sums.sampling / hits } else { 0.0 };
    // Hits cannot have taken more than all the CPU time there was while they were counted.
    let most = outcome.hit_bound.map_or(f64::INFINITY, |bound| 1e9 * bound);
    let measured = hit.map(|ns| ns + sampling_ns);
    let hit = excess::cost_of_a_hit(&outcome.epochs).map_or(measured, |least| measured.at_least(least));
    let Band { low, mid, high } = hit.map(|ns| ns.min(most));
    let windows = || outcome.epochs.iter().map(|epoch| &epoch.window);
    let cpu: f64 = windows().map(|window| window.cpu_ns as f64).sum();
    let taken: f64 = windows().map(|window| window.hits as f64 * mid).sum();
    let part = |seconds: f64| (seconds / duration.as_secs_f64().max(1e-9)).min(1.0);
    Cost {
        budget,
        hits: sums.hits,
        hit_ns: mid,
        hit_ns_low: low,
        hit_ns_high: high,
        target_cpu_ns: (1e9 * sums.cpu) as u64,
        spent_ns: (hits * mid) as u64,
        spent_ns_high: (hits * high) as u64,
        probed_share: part(outcome.in_place),
        // Without CPU time nothing is known of it: a target that has ended took its clock along.
        slowdown_in_windows: if taken > 0.0 && cpu > 0.0 { cpu / (cpu - taken).max(cpu / MOST_SLOWDOWN) } else { 1.0 },
        bound: part(outcome.disturbed),
        ..Cost::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::windows::{Glance, Outcome},
        recording::about::{Epoch, Window},
    };

    fn ended(hits: u64, bound: Option<f64>) -> Ended {
        let window = Window { cpu_ns: 10_000_000, hits, ..Window::default() };
        let epochs = vec![Epoch { window, ..Epoch::default() }];
        let outcome = Outcome { epochs, in_place: 0.011, disturbed: 0.02, hit_bound: bound };
        let sums = Glance { cpu: 1.0, hits: hits + 100, sampling: 0.001 };
        Ended { outcome, sums, hit: Band { low: 400.0, mid: 600.0, high: 900.0 } }
    }

    #[test]
    fn sampled_hits_raise_the_mean() {
        let cost = cost_in_target(&ended(9_900, None), Some(0.02), Duration::from_secs(1));
        assert_eq!((cost.hits, cost.hit_ns, cost.hit_ns_low, cost.hit_ns_high), (10_000, 700.0, 500.0, 1000.0));
        assert_eq!((cost.spent_ns, cost.spent_ns_high, cost.target_cpu_ns), (7_000_000, 10_000_000, 1_000_000_000));
        assert_eq!((cost.probed_share, cost.bound), (0.011, 0.02));
        assert!((cost.slowdown_in_windows - 10.0 / (10.0 - 6.93)).abs() < 1e-9);
    }

    #[test]
    fn hits_take_no_more_than_there_is() {
        let cost = cost_in_target(&ended(100_000, Some(1e-7)), None, Duration::from_millis(1));
        assert_eq!((cost.hit_ns_low, cost.hit_ns, cost.hit_ns_high), (100.0, 100.0, 100.0));
        assert_eq!(cost.slowdown_in_windows, MOST_SLOWDOWN);
        assert_eq!((cost.probed_share, cost.bound), (1.0, 1.0));
    }

    #[test]
    fn a_target_whose_clock_is_gone_has_finite_numbers() {
        let mut without = ended(10, None);
        without.outcome.epochs[0].window.cpu_ns = 0;
        let cost = cost_in_target(&without, None, Duration::from_secs(1));
        assert_eq!(cost.slowdown_in_windows, 1.0);
    }

    #[test]
    fn no_hits_cost_nothing() {
        let none = Ended { outcome: Outcome::default(), sums: Glance::default(), hit: ended(1, None).hit };
        let cost = cost_in_target(&none, None, Duration::ZERO);
        assert_eq!((cost.hits, cost.spent_ns, cost.slowdown_in_windows, cost.probed_share), (0, 0, 1.0, 0.0));
    }
}
