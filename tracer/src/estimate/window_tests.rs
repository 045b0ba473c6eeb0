//! Simulated recordings in windows of programs whose truth is known. What is checked is what is claimed: estimates are
//! unbiased, and 95 % intervals hold the truth about that often, whatever the load does and wherever windows fall.
//!
//! A program is stepped through in wall time. Outside windows it makes the progress that it wants to make; in a window every
//! call costs it a hit.

use tracer_ebpf::abi::allocation::size_class;

use super::inclusion::probability;
use super::placement::place;
use super::{Calibration, Interval, Totals};
use crate::recording::about::{About, Cost, Counter, Epoch, SizeClass};
use crate::recording::{Recording, Sample};
use crate::synthetic::Random;

const RUNS: u32 = 200;
/// Nanoseconds of a step.
const STEP: u64 = 2_000_000;
const EPOCH: u64 = 1_000_000_000;
/// What a hit costs in truth, nanoseconds.
const HIT: f64 = 600.0;
/// Mean bytes between samples.
const R: u64 = 16 << 10;

/// What a program does at a moment.
#[derive(Clone, Copy, Default)]
struct Doing {
    /// CPU time that it wants in a unit of wall time.
    cpu: f64,
    /// Calls of each site in a millisecond of that CPU time.
    calls: [f64; 3],
}

const SIZES: [u64; 3] = [64, 200, 3000];

/// Seconds of wall time, seconds of own progress, and a number in (0, 1] that is drawn for each recording.
type Program = fn(f64, f64, f64) -> Doing;

struct Run {
    program: Program,
    epochs: u32,
    /// Share of each epoch, or the controller's own choice.
    share: Option<f64>,
    /// What tracer takes a hit to cost, relative to the truth; 0 = anything that has the truth in its band, by chance.
    believed: f64,
    /// Hits that end a window early.
    brake: u64,
}

impl Run {
    fn of(program: Program) -> Self {
        Self { program, epochs: 30, share: Some(0.05), believed: 1.0, brake: u64::MAX }
    }
}

/// Plays a program and records it: the recording, and the true bytes of each site.
fn record(run: &Run, random: &mut Random) -> (Recording, [f64; 3]) {
    let phase = random.unit();
    let mut truth = [0.0; 3];
    let mut about = About::default();
    let mut recording = Recording::default();
    let mut counted = [0u64; 3];
    // Blocks of each site up to the next sampled one.
    let p = SIZES.map(|size| probability(size, R));
    let mut ahead = p.map(|p| geometric(p, random));
    let mut progress = 0.0;
    let mut share = run.share.unwrap_or(0.05);
    for k in 0..run.epochs {
        let start = u64::from(k) * EPOCH;
        let range = place(EPOCH, share, random.unit());
        let range = range.start.next_multiple_of(STEP)..range.end.next_multiple_of(STEP);
        let mut epoch = Epoch { start_ns: start, length_ns: EPOCH, probability: share, ..Epoch::default() };
        (epoch.window.start_ns, epoch.window.planned_ns) = (start + range.start, range.end - range.start);
        for at in (0..EPOCH).step_by(STEP as usize) {
            let watched = range.contains(&at) && !epoch.window.capped;
            let doing = (run.program)((start + at) as f64 / 1e9, progress, phase);
            let rate: f64 = doing.calls.iter().sum();
            let slowdown = if watched { 1.0 + rate * HIT / 1e6 } else { 1.0 };
            let cpu = (doing.cpu * slowdown).min(1.0) * STEP as f64;
            progress += cpu / slowdown / 1e9;
            epoch.cpu_ns += cpu as u64;
            if watched {
                epoch.window.cpu_ns += cpu as u64;
                epoch.window.length_ns += STEP;
            }
            for site in 0..3 {
                let calls = (doing.calls[site] * cpu / slowdown / 1e6 + random.unit()).floor() as u64;
                truth[site] += (calls * SIZES[site]) as f64;
                if !watched {
                    continue;
                }
                epoch.window.hits += calls;
                epoch.window.calls += calls;
                epoch.window.bytes += calls * SIZES[site];
                counted[site] += calls;
                let mut left = calls;
                while left > ahead[site] {
                    left -= ahead[site] + 1;
                    ahead[site] = geometric(p[site], random);
                    let (stack, size) = (site as u32, SIZES[site]);
                    recording.samples.push(Sample { stack, size, interval: R, epoch: k, ..Sample::default() });
                }
                ahead[site] -= left;
            }
            epoch.window.capped |= watched && epoch.window.hits > run.brake;
        }
        if run.share.is_none() && epoch.window.cpu_ns > 0 {
            // 2 % of the time, by what this epoch cost.
            let spent = epoch.window.hits as f64 * HIT / epoch.window.cpu_ns as f64;
            share = (0.02 / spent.max(1e-9)).clamp(0.01, 1.0);
        }
        about.epochs.push(epoch);
    }
    let class = |site: usize| SizeClass {
        class: size_class(SIZES[site]) as u8,
        calls: counted[site],
        bytes: counted[site] * SIZES[site],
    };
    about.counters = vec![Counter { classes: (0..3).map(class).collect(), ..Counter::default() }];
    let believed = if run.believed > 0.0 { run.believed } else { 2f64.powf(random.unit() - 0.5) };
    let hit_ns = HIT * believed;
    about.cost = Some(Cost { hit_ns, hit_ns_low: hit_ns * 0.7, hit_ns_high: hit_ns * 1.42, ..Cost::default() });
    recording.about = about;
    (recording, truth)
}

fn geometric(p: f64, random: &mut Random) -> u64 {
    (random.unit().ln() / (-p).ln_1p()).floor() as u64
}

/// One number over all runs, relative to the truth.
#[derive(Default)]
struct Tally {
    runs: f64,
    covered: f64,
    sum: f64,
    squares: f64,
    width: f64,
}

impl Tally {
    fn add(&mut self, truth: f64, value: f64, interval: Interval) {
        self.runs += 1.0;
        self.covered += f64::from(interval.low <= truth * (1.0 + 1e-9) && truth * (1.0 - 1e-9) <= interval.high);
        let error = value / truth - 1.0;
        self.sum += error;
        self.squares += error * error;
        self.width += (interval.high - interval.low) / truth / 2.0;
    }

    fn bias(&self) -> f64 {
        self.sum / self.runs
    }

    /// Standard error of the bias.
    fn error(&self) -> f64 {
        (self.squares / self.runs / self.runs).sqrt()
    }

    fn check(&self, what: &str, least: f64, bias: f64, ratio_bias: f64) {
        let coverage = self.covered / self.runs;
        println!(
            "{what}: coverage {coverage:.3}, bias {:+.4} ({:+.2} s.e.), standard deviation {:.4}, half width {:.4}",
            self.bias(),
            self.bias() / self.error(),
            (self.squares / self.runs).sqrt(),
            self.width / self.runs
        );
        assert!(coverage >= least, "{what}: coverage {coverage}");
        // A ratio is biased by a part of its standard deviation that shrinks with the number of windows.
        let bias = bias.max(ratio_bias * (self.squares / self.runs).sqrt());
        assert!(self.bias().abs() <= 3.0 * self.error() + bias, "{what}: bias {}", self.bias());
    }
}

/// What is allowed: least coverage, and bias beside that of chance.
struct Allowed {
    coverage: f64,
    bias: f64,
}

const WELL: Allowed = Allowed { coverage: 0.93, bias: 0.003 };

fn check(what: &str, run: &Run, runs: u32, allowed: &Allowed) {
    let mut random = Random::new(20_261_123);
    let mut total = Tally::default();
    let (mut sums, mut shares): ([Tally; 3], [Tally; 3]) = Default::default();
    let mut bounded = 0;
    for _ in 0..runs {
        let (recording, truth) = record(run, &mut random);
        let all: f64 = truth.iter().sum();
        let calibration = Calibration::new(&recording);
        match calibration.totals() {
            Totals::Exact(exact) => panic!("{exact:?} is not exact"),
            Totals::Estimated { bytes, .. } => total.add(all, bytes.value, bytes.interval),
            Totals::AtLeast { bytes, .. } => {
                bounded += 1;
                total.add(all, all, Interval { low: bytes, high: f64::INFINITY });
            }
        }
        let estimated = matches!(calibration.totals(), Totals::Estimated { .. });
        let measures = calibration.sum(3, |stack, groups| groups.add(stack));
        let sum = calibration.attributed().bytes.value + calibration.unattributed_measure().bytes.value;
        for site in (0..3).filter(|&site| truth[site] > 0.0) {
            let measure = &measures[site];
            let share = truth[site] / all;
            shares[site].add(share, measure.bytes.value / sum, calibration.share_interval(measure));
            if estimated {
                sums[site].add(truth[site], measure.bytes.value, calibration.bytes_interval(measure));
            }
        }
    }
    println!("{what}: {bounded} of {runs} with lower bounds only");
    total.check(&format!("{what}, total"), allowed.coverage, allowed.bias, 0.0);
    for site in 0..3 {
        if shares[site].runs > 0.0 {
            shares[site].check(&format!("{what}, share of {site}"), allowed.coverage, allowed.bias, 0.25);
        }
        if sums[site].runs > 0.0 {
            sums[site].check(&format!("{what}, bytes of {site}"), allowed.coverage, allowed.bias, 0.0);
        }
    }
}

/// 90 calls a millisecond: slowed 1.05 times.
const STEADY: Doing = Doing { cpu: 1.0, calls: [60.0, 20.0, 1.0] };

#[test]
fn a_steady_target() {
    check("steady", &Run::of(|_, _, _| STEADY), RUNS, &WELL);
}

/// As fast as the whole estimate of what a hit costs still serves.
#[test]
fn a_target_that_is_slowed() {
    let program: Program = |_, _, _| Doing { cpu: 1.0, calls: [400.0, 100.0, 10.0] };
    check("slowed", &Run::of(program), RUNS, &WELL);
    // The cost is known to be somewhere in its band only.
    let wide = Allowed { coverage: 0.93, bias: 0.2 };
    for believed in [0.75, 1.3] {
        check(&format!("slowed, believed {believed}"), &Run { believed, ..Run::of(program) }, 100, &wide);
    }
}

/// Totals where the cost of a hit is known to be in its band and no better: any of it is as likely. Saturated, and doing what
/// comes, which may be more than it can do while it is watched.
#[test]
fn totals_of_targets_up_to_a_million_calls_a_second() {
    let programs: [(&str, Program); 4] = [
        ("half a million", |_, _, _| Doing { cpu: 1.0, calls: [400.0, 100.0, 10.0] }),
        ("a million", |_, _, _| Doing { cpu: 1.0, calls: [750.0, 230.0, 20.0] }),
        ("a million, as it comes", |time, _, phase| Doing {
            cpu: if (time / 0.033 + phase).fract() < 0.5 { 0.9 } else { 0.2 },
            calls: [750.0, 230.0, 20.0],
        }),
        ("a quarter and one million", |_, progress, phase| Doing {
            cpu: 1.0,
            calls: if (progress / 0.9 + phase).fract() < 0.5 { [240.0, 10.0, 2.0] } else { [240.0, 710.0, 50.0] },
        }),
    ];
    for (what, program) in programs {
        let run = Run { believed: 0.0, share: Some(0.02), epochs: 60, ..Run::of(program) };
        let mut random = Random::new(7);
        let (mut total, mut of_site) = (Tally::default(), Tally::default());
        for _ in 0..RUNS {
            let (recording, truth) = record(&run, &mut random);
            let calibration = Calibration::new(&recording);
            let Totals::Estimated { bytes, .. } = calibration.totals() else {
                panic!("{what}: {:?}", calibration.totals());
            };
            assert!(bytes.interval.high < 6.0 * bytes.interval.low, "{what}: {bytes:?}");
            total.add(truth.iter().sum(), bytes.value, bytes.interval);
            let site = &calibration.sum(3, |stack, groups| groups.add(stack))[1];
            of_site.add(truth[1], site.bytes.value, calibration.bytes_interval(site));
        }
        // Biased, since the truth is not in the middle of the band in the mean.
        total.check(what, 0.95, 0.2, 0.0);
        of_site.check(&format!("{what}, a site"), 0.95, 0.2, 0.0);
    }
}

/// Phases of different rates, each some seconds long.
#[test]
fn a_target_with_phases() {
    let program: Program = |_, progress, phase| match (progress / 3.3 + phase).fract() {
        p if p < 0.4 => Doing { cpu: 1.0, calls: [300.0, 20.0, 1.0] },
        p if p < 0.7 => Doing { cpu: 1.0, calls: [20.0, 150.0, 4.0] },
        _ => Doing { cpu: 1.0, calls: [5.0, 0.0, 0.0] },
    };
    check("phases", &Run::of(program), RUNS, &Allowed { coverage: 0.91, bias: 0.01 });
}

/// Bursts of 100 ms at times that have nothing to do with the epochs.
#[test]
fn bursts() {
    let program: Program = |time, _, phase| {
        let burst = (time / 0.73 + phase).fract() < 0.14;
        Doing { cpu: 0.5, calls: if burst { [100.0, 300.0, 2.0] } else { [100.0, 0.0, 2.0] } }
    };
    check("bursts", &Run::of(program), RUNS, &Allowed { coverage: 0.91, bias: 0.01 });
}

/// CPU time comes in bursts as well: most windows see an idle target.
#[test]
fn bursts_between_idleness() {
    let program: Program = |time, _, phase| {
        let burst = (time / 0.73 + phase).fract() < 0.3;
        Doing { cpu: if burst { 1.0 } else { 0.0 }, ..STEADY }
    };
    check("idle between bursts", &Run::of(program), RUNS, &Allowed { coverage: 0.93, bias: 0.005 });
}

/// Bursts of the epochs' own period. Every recording has another phase, which stays the same in it; one starts with the
/// epochs.
#[test]
fn bursts_with_the_period_of_epochs() {
    let anywhere: Program = |time, _, phase| {
        let burst = (time + phase).fract() < 0.1;
        Doing { cpu: 0.5, calls: if burst { [100.0, 300.0, 2.0] } else { [100.0, 0.0, 2.0] } }
    };
    let locked: Program = |time, _, _| {
        let burst = time.fract() < 0.1;
        Doing { cpu: 0.5, calls: if burst { [100.0, 300.0, 2.0] } else { [100.0, 0.0, 2.0] } }
    };
    check("bursts with the epochs", &Run::of(anywhere), RUNS, &Allowed { coverage: 0.91, bias: 0.01 });
    check("bursts at the begin of epochs", &Run::of(locked), RUNS, &Allowed { coverage: 0.91, bias: 0.01 });
}

#[test]
fn the_mean_of_50_recordings_with_the_period_of_epochs() {
    let program: Program =
        |time, _, _| Doing { cpu: 0.8, calls: if time.fract() < 0.05 { [300.0, 30.0, 3.0] } else { [0.0; 3] } };
    let mut tally = Tally::default();
    let mut random = Random::new(5);
    for _ in 0..50 {
        let (recording, truth) = record(&Run::of(program), &mut random);
        let value = match Calibration::new(&recording).totals() {
            Totals::Estimated { bytes, .. } => bytes.value,
            other => panic!("{other:?}"),
        };
        tally.add(truth.iter().sum(), value, Interval::default());
    }
    assert!(tally.bias().abs() <= 2.0 * tally.error(), "{} of {}", tally.bias(), tally.error());
}

/// From idle to full, shares as a controller would choose them.
#[test]
fn a_load_that_changes() {
    let alternating: Program = |time, _, phase| {
        let idle = (time / 6.0 + phase).fract() < 0.5;
        Doing { cpu: if idle { 0.01 } else { 1.0 }, calls: if idle { [1.0, 0.0, 0.0] } else { [150.0, 30.0, 2.0] } }
    };
    check("idle and full", &Run { share: None, ..Run::of(alternating) }, RUNS, &Allowed { coverage: 0.91, bias: 0.01 });
    let rising: Program = |time, _, _| Doing { cpu: 0.2 + time / 40.0, calls: [20.0 + 5.0 * time, 40.0, 0.1 * time] };
    check("rising", &Run::of(rising), RUNS, &WELL);
}

/// Few epochs: Student's quantiles.
#[test]
fn few_epochs() {
    let program: Program = |time, _, phase| {
        let burst = (time / 0.37 + phase).fract() < 0.4;
        Doing { cpu: 1.0, calls: if burst { [100.0, 100.0, 2.0] } else { [100.0, 10.0, 2.0] } }
    };
    for epochs in [2, 4, 8] {
        let run = Run { epochs, share: Some(0.1), ..Run::of(program) };
        check(&format!("{epochs} epochs"), &run, RUNS, &Allowed { coverage: 0.91, bias: 0.02 });
    }
}

/// The brake ends windows of the busiest phase.
#[test]
fn windows_that_end_early() {
    let program: Program = |_, progress, phase| {
        let busy = (progress / 2.7 + phase).fract() < 0.5;
        Doing { cpu: 1.0, calls: if busy { [300.0, 100.0, 2.0] } else { [60.0, 5.0, 2.0] } }
    };
    let run = Run { brake: 6000, ..Run::of(program) };
    check("brake", &run, RUNS, &Allowed { coverage: 0.91, bias: 0.01 });
}

/// As fast as malloc goes, slowed 37 times: shares hold, totals are lower bounds.
#[test]
fn saturated() {
    let program: Program = |_, _, _| Doing { cpu: 1.0, calls: [50_000.0, 10_000.0, 100.0] };
    for believed in [0.75, 1.0, 1.3] {
        let run = Run { believed, share: Some(0.02), ..Run::of(program) };
        check(&format!("saturated, believed {believed}"), &run, 100, &WELL);
    }
    // Two phases, one of which is slowed 25 times and the other hardly: what of it belongs to which hangs on the cost.
    let mixed: Program = |_, progress, phase| match (progress / 2.1 + phase).fract() {
        p if p < 0.5 => Doing { cpu: 1.0, calls: [40_000.0, 0.0, 10.0] },
        _ => Doing { cpu: 1.0, calls: [0.0, 100.0, 10.0] },
    };
    for believed in [0.75, 1.0, 1.3] {
        let run = Run { believed, share: Some(0.02), ..Run::of(mixed) };
        check(&format!("half saturated, believed {believed}"), &run, 100, &Allowed { coverage: 0.93, bias: 10.0 });
    }
}
