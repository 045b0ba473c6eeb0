//! Simulated sites whose truth is known.

use super::*;
use crate::estimate::survival::{Observed, Survival};
use crate::synthetic::Random;

const MINUTE: f64 = 60.0;
/// Sampled blocks of a site in a second.
const RATE: f64 = 100.0;
const FOR_EVER: f64 = 1e9;

/// How many seconds the next block of a site lives, which is made at a time.
type Law = fn(&mut Random, f64) -> f64;

fn exponential(random: &mut Random, mean: f64) -> f64 {
    -random.unit().ln() * mean
}

fn lognormal(random: &mut Random, median: f64, sigma: f64) -> f64 {
    let normal = (-2.0 * random.unit().ln()).sqrt() * (std::f64::consts::TAU * random.unit()).cos();
    median * (sigma * normal).exp()
}

/// Nine short ones and a long one.
fn bimodal(random: &mut Random, long: f64) -> f64 {
    if random.unit() < 0.9 { exponential(random, 0.01) } else { exponential(random, long) }
}

/// Kept while a cache takes up blocks, which one block in ten is for.
fn cached(random: &mut Random, fills: bool) -> f64 {
    if fills && random.unit() < 0.1 { FOR_EVER } else { exponential(random, 0.01) }
}

fn leaking(random: &mut Random, share: f64) -> f64 {
    if random.unit() < share { FOR_EVER } else { lognormal(random, 0.01, 1.0) }
}

/// The blocks of a recording, each for 1 byte.
fn draw(random: &mut Random, law: Law, seconds: f64) -> Vec<Kept> {
    let mut blocks = Vec::new();
    let mut time = 0.0;
    loop {
        time += exponential(random, 1.0 / RATE);
        if time > seconds {
            return blocks;
        }
        let released = time + law(random, time);
        let released_ns = (released <= seconds).then_some((released * 1e9) as u64);
        blocks.push(Kept { made_ns: (time * 1e9) as u64, released_ns, bytes: 1.0 });
    }
}

fn judge(blocks: &[Kept], seconds: f64, sites: usize) -> (Growth, Verdict) {
    let end = (seconds * 1e9) as u64;
    let observed = blocks.iter().map(|block| Observed {
        age_ns: block.released_ns.unwrap_or(end) - block.made_ns,
        released: block.released_ns.is_some(),
        weight: 1.0,
    });
    let mostly_released = Survival::new(observed.collect()).quantile(0.5).value.is_some();
    let growth = Growth::new(blocks.iter().copied(), end, 1.0);
    (growth, growth.verdict(mostly_released, sites))
}

/// Sites that do not leak, and what may be said of them; never that they grow.
const STEADY: &[(&str, Law)] = &[
    ("10 ms", |r, _| exponential(r, 0.01)),
    ("1 s", |r, _| exponential(r, 1.0)),
    ("5 s", |r, _| exponential(r, 5.0)),
    ("10 s", |r, _| exponential(r, 10.0)),
    ("20 s", |r, _| exponential(r, 20.0)),
    ("30 s", |r, _| exponential(r, 30.0)),
    ("always 20 s", |_, _| 20.0),
    ("always 50 s", |_, _| 50.0),
    ("lognormal", |r, _| lognormal(r, 0.1, 2.0)),
    ("lognormal, seconds", |r, _| lognormal(r, 3.0, 2.0)),
    ("Pareto", |r, _| 0.01 * (1.0 / r.unit() - 1.0)),
    ("bimodal, 10 s", |r, _| bimodal(r, 10.0)),
    ("bimodal, 20 s", |r, _| bimodal(r, 20.0)),
    ("bimodal, 30 s", |r, _| bimodal(r, 30.0)),
    ("a cache full after 15 s", |r, t| cached(r, t < 15.0)),
    ("a cache full after 30 s", |r, t| cached(r, t < 30.0)),
    ("a cache full after 40 s", |r, t| cached(r, t < 40.0)),
    ("a cache that fills less and less", |r, t| {
        let fills = r.unit() < (-t / 10.0).exp();
        cached(r, fills)
    }),
    ("a cache that is filled at once", |r, t| cached(r, (25.0..26.0).contains(&t))),
    ("released together every 25 s", |_, t| 25.0 - (t + 7.0) % 25.0),
    ("some released together every 45 s", |r, t| if r.unit() < 0.9 { 0.01 } else { 45.0 - (t + 7.0) % 45.0 }),
];

#[test]
fn a_leak_of_one_percent_is_found_and_no_steady_site_is_called_growing() {
    let sites = STEADY.len() + 1;
    let mut random = Random::new(60);
    let (mut found, mut covered) = (0, 0);
    for _ in 0..20 {
        for (name, law) in STEADY {
            let (growth, verdict) = judge(&draw(&mut random, *law, MINUTE), MINUTE, sites);
            assert_ne!(verdict, Verdict::Growing, "{name}: {growth:?}");
        }
        let (growth, verdict) = judge(&draw(&mut random, |r, _| leaking(r, 0.0), MINUTE), MINUTE, sites);
        assert_eq!(verdict, Verdict::Steady, "without the leak: {growth:?}");
        let (growth, verdict) = judge(&draw(&mut random, |r, _| leaking(r, 0.01), MINUTE), MINUTE, sites);
        found += u32::from(verdict == Verdict::Growing);
        let (low, high) = (growth.bytes_per_minute.low, growth.bytes_per_minute.high);
        covered += u32::from((low..=high).contains(&(0.01 * RATE * MINUTE)));
    }
    println!("leak found in {found} of 20 recordings, rate in its interval in {covered}");
    assert!(found >= 18 && covered >= 17);
}

#[test]
fn short_lived_blocks_are_steady() {
    let mut random = Random::new(61);
    for law in [STEADY[0].1, STEADY[1].1, STEADY[10].1, STEADY[14].1] {
        let (growth, verdict) = judge(&draw(&mut random, law, MINUTE), MINUTE, 1);
        assert_eq!(verdict, Verdict::Steady, "{growth:?}");
    }
}

/// The rate of growth is in its interval about as often as it should be, also where lifetimes are long.
#[test]
fn intervals_hold_the_true_rate() {
    // The mean share that lives longer than ages from 20 s to 60 s.
    let mean = |lifetime: f64| lifetime / 40.0 * ((-20.0 / lifetime).exp() - (-60.0 / lifetime).exp());
    let laws: [(Law, f64); 3] = [
        (|r, _| leaking(r, 0.01), 0.01),
        (|r, _| exponential(r, 600.0), mean(600.0)),
        (|r, _| bimodal(r, 20.0), 0.1 * mean(20.0)),
    ];
    let mut random = Random::new(62);
    for (law, share) in laws {
        let (mut covered, mut sum, runs) = (0, 0.0, 300);
        for _ in 0..runs {
            let Change { value, low, high } = judge(&draw(&mut random, law, MINUTE), MINUTE, 1).0.bytes_per_minute;
            covered += u32::from((low..=high).contains(&(share * RATE * MINUTE)));
            sum += value / (share * RATE * MINUTE) / f64::from(runs);
        }
        let coverage = f64::from(covered) / f64::from(runs);
        println!("share {share:.4}: coverage {coverage:.3}, mean {sum:.3} of the truth");
        assert!((0.93..=1.0).contains(&coverage) && (0.9..1.1).contains(&sum), "{share}: {coverage}, {sum}");
    }
}

#[test]
fn blocks_that_outlive_the_recording_leave_it_open() {
    let mut random = Random::new(63);
    for law in [(|r, _| exponential(r, 600.0)) as Law, |_, _| FOR_EVER] {
        let (growth, verdict) = judge(&draw(&mut random, law, MINUTE), MINUTE, 1);
        assert_eq!(verdict, Verdict::Unknown(Reason::LongLived), "{growth:?}");
        assert!(growth.bytes_per_minute.low > 0.0);
    }
}

#[test]
fn what_is_missing_is_named() {
    let mut random = Random::new(64);
    let mut reason = |law: Law, seconds| judge(&draw(&mut random, law, seconds), seconds, 20).1;
    assert_eq!(reason(|r, _| leaking(r, 0.1), 4.0), Verdict::Unknown(Reason::TooShort));
    assert_eq!(reason(|r, _| exponential(r, 30.0), MINUTE), Verdict::Unknown(Reason::StillReleased));
    assert_eq!(reason(|r, t| cached(r, t < 40.0), MINUTE), Verdict::Unknown(Reason::Slowing));
    let few: Vec<Kept> = draw(&mut Random::new(65), STEADY[0].1, MINUTE).into_iter().step_by(100).collect();
    assert_eq!(judge(&few, MINUTE, 1).1, Verdict::Unknown(Reason::Uncertain));
    assert_eq!(judge(&[], MINUTE, 1).1, Verdict::Unknown(Reason::LongLived));
}

/// Tables of the normal distribution.
#[test]
fn thresholds_are_those_of_the_normal_distribution() {
    for (probability, z) in [(0.1, 1.2816), (0.025, 1.9600), (1e-3, 3.0902), (1e-6, 4.7534)] {
        let threshold = threshold(probability);
        assert!(threshold >= z - 1e-4 && threshold < z + 0.01, "{probability}: {threshold} {z}");
    }
}
