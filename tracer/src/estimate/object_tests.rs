//! Simulated recordings of programs that mix sizes: intervals of numbers of objects hold the truth, of what was made and of what
//! is in use, by site and in total, whatever the sizes; and they say something where something can be known.

use super::coverage_tests::{Blocks, R, RUNS, blocks, counters, draw};
use super::{Calibration, Interval};
use crate::recording::about::{About, Live};
use crate::recording::{Recording, Sample};
use crate::synthetic::Random;

const SITES: usize = 4;

/// One number over all runs.
#[derive(Clone, Copy, Default)]
struct Score {
    held: u32,
    /// Runs with an upper end.
    bounded: u32,
}

impl Score {
    fn add(&mut self, truth: f64, Interval { low, high }: Interval) {
        // Rounding, where the whole is exact.
        self.held += u32::from(low <= truth * (1.0 + 1e-9) && truth * (1.0 - 1e-9) <= high);
        self.bounded += u32::from(high.is_finite());
    }
}

/// Simulates a program of which the first `in_use` in a hundred blocks stay. Returns, for each site and for everything, the share of
/// runs whose intervals have an upper end: of what was made, of what is in use.
fn check(name: &str, program: &[Blocks], in_use: u64) -> [[f64; 2]; SITES + 1] {
    let mut shares = [[0.0; 2]; SITES + 1];
    for (counted, lost) in [(true, 0.0), (true, 0.3), (false, 0.0)] {
        let stays = |of: &Blocks| of.count * in_use / 100;
        let is_in_use = |sample: &Sample| {
            let of = program.iter().find(|of| (of.site, of.size) == (sample.stack, sample.size));
            of.is_some_and(|of| sample.time_ns < stays(of))
        };
        let truth = |site: usize| {
            let of_site = program.iter().filter(|of| site == SITES || of.site == site as u32);
            of_site.fold([0.0; 2], |sum, of| [sum[0] + of.count as f64, sum[1] + stays(of) as f64])
        };
        let mut random = Random::new(20_261_123);
        let mut scores = [[Score::default(); 2]; SITES + 1];
        for _ in 0..RUNS {
            let mut samples = draw(program, &mut random);
            let taken = samples.len();
            samples.retain(|_| random.unit() > lost);
            let counters = if counted { counters(program) } else { Vec::new() };
            let mut about = About { counters, live: Some(Live::default()), ..About::default() };
            about.losses.ring_full = (taken - samples.len()) as u64;
            let recording = Recording { about, samples, ..Recording::default() };
            let all = Calibration::new(&recording);
            let selected = all.select(&recording, |_, sample| is_in_use(sample).then_some(sample.stack));
            for (which, weights) in [all, selected].iter().enumerate() {
                let mut measures = weights.sum(SITES, |site, groups| groups.add(site));
                measures.push(weights.attributed());
                for (site, measure) in measures.iter().enumerate() {
                    scores[site][which].add(truth(site)[which], weights.objects_interval(measure));
                }
            }
        }
        for (site, scores) in scores.iter().enumerate() {
            for (which, (score, truth)) in scores.iter().zip(truth(site)).enumerate() {
                let what = ["made", "in use"][which];
                let share = |of: u32| f64::from(of) / f64::from(RUNS);
                let (coverage, bounded) = (share(score.held), share(score.bounded));
                println!(
                    "{name}, counted {counted}, lost {lost}, site {site}, {what}, {truth}: coverage {coverage:.3}, bounded {bounded:.3}"
                );
                assert!(
                    coverage >= 0.93,
                    "{name}, counted {counted}, lost {lost}, site {site}, {what}: coverage {coverage}"
                );
                if counted && lost == 0.0 {
                    shares[site][which] = bounded;
                }
            }
        }
    }
    shares
}

/// One site with as many blocks of each size, as buffers that double have; one with as many bytes of each; beside them one of
/// small and one of large blocks.
#[test]
fn sites_that_mix_all_sizes() {
    let mut program = vec![blocks(2, 16, 400_000), blocks(3, 64 << 10, 100)];
    for class in 4..=16 {
        program.push(blocks(0, 1 << class, 200));
        program.push(blocks(1, 1 << class, (4 * R) >> class));
    }
    let bounded = check("mixed", &program, 30);
    assert!(bounded[2][1] > 0.99 && bounded[SITES][0] > 0.99, "{bounded:?}");
}

/// Blocks of which no sample comes, beside large ones.
#[test]
fn few_large_samples_and_small_blocks_unseen() {
    let program = [
        blocks(0, 64 << 10, 5),
        blocks(0, 16, 1000),
        blocks(1, 1 << 20, 3),
        blocks(1, 24, 6000),
        blocks(1, 500, 30),
        blocks(2, 16, 300_000),
        blocks(2, 48, 100_000),
        blocks(3, 40 << 10, 40),
    ];
    let bounded = check("few large", &program, 50);
    // Of a few large blocks nobody knows what small ones were beside them.
    assert!(bounded[0][0] < 0.5 && bounded[3][0] < 0.1, "{bounded:?}");
    assert!(bounded[2] == [1.0; 2], "{bounded:?}");
}

/// Small blocks that are too few to be scaled by themselves.
#[test]
fn small_classes_that_expect_few_samples() {
    let program = [
        blocks(0, 16, 8000),
        blocks(0, 4096, 200),
        blocks(1, 64, 40_000),
        blocks(2, 20, 3000),
        blocks(2, 8192, 300),
        blocks(3, 128, 60_000),
        blocks(3, 2000, 100),
    ];
    check("few small", &program, 40);
}

/// Where there are no small blocks, none are feared.
#[test]
fn large_blocks_alone_keep_their_upper_end() {
    let program = [
        blocks(0, 64 << 10, 200),
        blocks(1, 20 << 10, 300),
        blocks(2, 16, 20),
        blocks(2, 48 << 10, 100),
        blocks(3, 32 << 10, 60),
    ];
    let bounded = check("large alone", &program, 50);
    assert!(bounded.iter().flatten().all(|&share| share > 0.99), "{bounded:?}");
}
