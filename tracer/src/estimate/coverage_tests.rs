//! Simulated recordings of programs whose truth is known: estimates must be unbiased, and 95 % intervals must hold the
//! truth about that often.

use tracer_ebpf::abi::allocation::size_class;

use super::inclusion::probability;
use super::{Calibration, Measure};
use crate::recording::about::{About, Counter, SizeClass};
use crate::recording::{Recording, Sample};
use crate::synthetic::Random;

pub(super) const RUNS: u32 = 1000;
pub(super) const R: u64 = 64 << 10;

/// `count` blocks of `size` bytes allocated by `site`.
pub(super) struct Blocks {
    pub site: u32,
    pub size: u64,
    pub count: u64,
}

pub(super) fn blocks(site: u32, size: u64, count: u64) -> Blocks {
    Blocks { site, size, count }
}

/// Draws a recording: whether a block is sampled is independent of all others, so that the number of blocks to the next
/// one sampled is geometric. Times are numbers among the blocks.
pub(super) fn draw(program: &[Blocks], random: &mut Random) -> Vec<Sample> {
    let mut samples = Vec::new();
    for blocks in program {
        let p = probability(blocks.size, R);
        let mut position = 0.0;
        loop {
            position += (random.unit().ln() / (-p).ln_1p()).floor();
            if position >= blocks.count as f64 {
                break;
            }
            samples.push(Sample {
                stack: blocks.site,
                process: 1,
                thread: 1,
                time_ns: position as u64,
                size: blocks.size,
                interval: R,
                counter: 0,
                ..Default::default()
            });
            position += 1.0;
        }
    }
    samples
}

pub(super) fn counters(program: &[Blocks]) -> Vec<Counter> {
    let class = |b: &Blocks| SizeClass { class: size_class(b.size) as u8, calls: b.count, bytes: b.count * b.size };
    vec![Counter { classes: program.iter().map(class).collect(), ..Counter::default() }]
}

/// One number over all runs.
#[derive(Default)]
struct Tally {
    covered: u32,
    sum: f64,
    squares: f64,
    claimed_variance: f64,
}

impl Tally {
    fn add(&mut self, truth: f64, estimate: super::Estimate, interval: super::Interval) {
        self.covered += u32::from(interval.low <= truth && truth <= interval.high);
        let error = estimate.value - truth;
        self.sum += error;
        self.squares += error * error;
        self.claimed_variance += estimate.variance;
    }

    fn check(&self, what: &str, truth: f64, is_bytes: bool) {
        let runs = f64::from(RUNS);
        let coverage = f64::from(self.covered) / runs;
        let bias = self.sum / runs;
        let standard_error = (self.squares / runs / runs).sqrt();
        let variance = self.claimed_variance / self.squares;
        println!(
            "{what}: coverage {coverage:.3}, bias {:.2} s.e., claimed/true variance {variance:.2}",
            bias / standard_error
        );
        // Intervals of objects are wider, for sizes that may have gone unseen.
        let most = if is_bytes { 0.99 } else { 1.0 };
        assert!((0.90..=most).contains(&coverage), "{what}: coverage {coverage}");
        // A ratio of exact to estimated is biased in its second order: allow it 0.1 % besides chance.
        assert!(bias.abs() <= 3.0 * standard_error + 0.001 * truth, "{what}: bias {bias} of {truth}");
        assert!((0.85..1.2).contains(&variance), "{what}: claimed variance is {variance} of the true one");
    }
}

/// Simulates a program and checks the bytes of `sites`, and the objects of those in `objects`. `object_tests` have their intervals.
fn check(name: &str, program: &[Blocks], sites: &[u32], objects: &[u32]) {
    // Without counters, lost samples are allowed for, but with more variance than the whole has: their number is known.
    for (counted, lost) in [(false, 0.0), (true, 0.0), (true, 0.3)] {
        let mut random = Random::new(20_261_122);
        let mut tallies: Vec<(Tally, Tally)> = sites.iter().map(|_| Default::default()).collect();
        for _ in 0..RUNS {
            let mut samples = draw(program, &mut random);
            let taken = samples.len();
            samples.retain(|_| random.unit() > lost);
            let mut about = About::default();
            about.losses.ring_full = (taken - samples.len()) as u64;
            if counted {
                about.counters = counters(program);
            }
            let calibration = Calibration::new(&Recording { about, samples, ..Recording::default() });
            let measures = calibration.sum(3, |stack, groups| groups.add(stack));
            for (&site, (bytes, objects)) in sites.iter().zip(&mut tallies) {
                let measure: &Measure = &measures[site as usize];
                bytes.add(true_bytes(program, site), measure.bytes, calibration.bytes_interval(measure));
                objects.add(true_objects(program, site), measure.objects, calibration.objects_interval(measure));
            }
        }
        for (site, (bytes, counts)) in sites.iter().zip(&tallies) {
            let what = format!("{name}, site {site}, counters {counted}, lost {lost}");
            bytes.check(&format!("{what}, bytes"), true_bytes(program, *site), true);
            if objects.contains(site) {
                counts.check(&format!("{what}, objects"), true_objects(program, *site), false);
            }
        }
    }
}

fn true_bytes(program: &[Blocks], site: u32) -> f64 {
    program.iter().filter(|b| b.site == site).map(|b| (b.size * b.count) as f64).sum()
}

fn true_objects(program: &[Blocks], site: u32) -> f64 {
    program.iter().filter(|b| b.site == site).map(|b| b.count as f64).sum()
}

#[test]
fn blocks_far_below_the_interval() {
    // 1,000 samples; site 1 has 10 %, site 2 has 1 %.
    let program = [blocks(0, 64, 911_360), blocks(1, 96, 68_267), blocks(2, 80, 8192)];
    check("S << R", &program, &[0, 1, 2], &[0, 1, 2]);
}

#[test]
fn blocks_about_the_interval() {
    let program = [blocks(0, R, 900), blocks(1, R * 3 / 4, 133), blocks(2, R + R / 2, 20), blocks(0, R / 2, 178)];
    check("S ~ R", &program, &[0, 1, 2], &[0, 1, 2]);
}

#[test]
fn blocks_above_the_interval() {
    let program = [blocks(0, 2 * R, 600), blocks(1, 3 * R, 250), blocks(2, 2 * R + 100, 60)];
    check("S > R", &program, &[0, 1, 2], &[0, 1, 2]);
}

#[test]
fn a_mix_of_all_sizes() {
    let program = [
        blocks(0, 24, 500_000),
        blocks(0, 200, 100_000),
        blocks(0, 4096, 4000),
        blocks(0, 3 * R, 60),
        blocks(1, 20, 80_000),
        blocks(1, 180, 20_000),
        blocks(1, 1000, 2000),
        blocks(1, 2 * R + 1, 10),
        blocks(2, 16, 10_000),
        blocks(2, 5000, 60),
    ];
    // Site 2's objects are blocks of 16 bytes, of which one run in ten has no sample: nothing can be said about them.
    check("mixed", &program, &[0, 1, 2], &[0, 1]);
}

/// Sizes whose cells have few samples each, so that everything hangs on how they are collapsed.
#[test]
fn many_classes_with_few_samples() {
    let mut program = Vec::new();
    for class in 3..16 {
        program.push(blocks(0, 3 << class, (6 * R) >> (class + 1)));
        program.push(blocks(1, 3 << class, (4 * R) >> (class + 2)));
    }
    check("few in each class", &program, &[0, 1], &[0, 1]);
}

/// Blocks far above the interval are sampled for certain, whatever is sampled around them.
#[test]
fn large_blocks_are_exact() {
    let program = [blocks(0, 64, 500_000), blocks(1, 20 * R, 3), blocks(1, 1000 * R, 2)];
    let mut random = Random::new(7);
    for _ in 0..100 {
        let about = About { counters: counters(&program), ..About::default() };
        let recording = Recording { about, samples: draw(&program, &mut random), ..Recording::default() };
        let calibration = Calibration::new(&recording);
        let measure = calibration.sum(2, |stack, groups| groups.add(stack))[1];
        let truth = true_bytes(&program, 1);
        assert!((measure.bytes.value / truth - 1.0).abs() < 1e-6);
        let interval = calibration.bytes_interval(&measure);
        assert!(interval.low <= truth * (1.0 + 1e-12) && truth <= interval.high);
        assert!(interval.high - interval.low < 4.0 * R as f64);
    }
}

/// What scaling to the exact counters is for: the variance of a large share shrinks, that of a small one hardly
/// changes.
#[test]
fn counters_lower_the_variance() {
    let program = [blocks(0, 64, 500_000), blocks(1, 100, 1_500_000), blocks(2, 70, 5000)];
    let mut random = Random::new(99);
    let samples = draw(&program, &mut random);
    let plain = Calibration::new(&Recording { samples: samples.clone(), ..Recording::default() });
    let about = About { counters: counters(&program), ..About::default() };
    let counted = Calibration::new(&Recording { about, samples, ..Recording::default() });
    let sum = |c: &Calibration| c.sum(3, |stack, groups| groups.add(stack));
    for (plain, counted) in sum(&plain).iter().zip(sum(&counted)) {
        assert!(counted.bytes.variance < 1.02 * plain.bytes.variance);
    }
    assert!(sum(&counted)[1].bytes.variance < 0.3 * sum(&plain)[1].bytes.variance);
}
