//! Whether what a site has in use grows, and goes on growing: the mathematics of leak suspects.
//!
//! A recording begins with nothing that it knows to be in use. What is in use then grows in every program, until blocks made since
//! are released as fast as new ones come. So two things are left out: the youngest blocks, those younger than an eighth of the
//! recording, and the first half of the recording. What remains is the change D of the old blocks' bytes in the second half. At a
//! site whose blocks are made at λ bytes a second, of which the share S(a) lives longer than a, its mean is λ ∫ S(a) da over the
//! ages from half to all of the recording: nothing where blocks live shorter, c λ T/2 where a share c is kept for ever.
//!
//! Blocks are taken as a random process: D = Σ c w over blocks that became old (c = 1) or were released when old (c = -1) has the
//! variance Σ c² w², which holds for what is sampled and for how many blocks there happened to be. Blocks that come and go in
//! groups make it larger. The half is therefore cut in ten, and the variance is at least what the changes in these differ by:
//! a cache that is filled at once is one jump, not growth. The interval is that of a difference of two Poisson sums (Zou and
//! Donner, Statistics in Medicine 27 (2008) 1693).
//!
//! Growth alone is no leak: at a site whose blocks live longer than the recording, what the recording knows of grows all the time,
//! and nobody can tell. A site that grows is called growing if besides
//!
//! * most of its blocks are released while the recording lasts, so that those that stay are exceptions;
//! * those that stay, stay: old blocks are released so rarely that 70 % of them would outlive another half of the recording.
//!   Lifetimes with a long tail fail this: of those that are old already, many are still being released. "Old" is a
//!   quarter, a half or three quarters of the recording, whichever says most;
//! * it has not slowed down at the end, as a cache does that fills up;
//! * its growth is so significant that the chance of *any* steady site to be called growing is at most 1 %.
//!
//! The tests hold this against simulated programs.

use super::interval::of_sum;
use super::measure::Estimate;

/// Parts of the second half of the recording whose changes are compared.
const BINS: usize = 10;
/// Those at the end that tell whether growth goes on.
const LATE: usize = 3;
/// How much of their share of it they must have.
const GOES_ON: f64 = 0.5;
/// Share of the old blocks that would outlive another half of the recording, at least, where something grows.
const STAY: f64 = 0.7;
/// Probability that any site at all is called growing by chance.
const FALSE_ALARM: f64 = 0.01;
/// A site is steady if at most this share of what it allocates, or has in use, can be growth.
const NEGLIGIBLE: f64 = 0.05;
/// Nothing can be said of shorter recordings: too many blocks of a healthy program live for seconds.
const SHORTEST_NS: u64 = 5_000_000_000;

/// A sampled block of a site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kept {
    /// When it was made, nanoseconds since the recording began.
    pub made_ns: u64,
    /// When it was released; `None` = in use at the end.
    pub released_ns: Option<u64>,
    /// Bytes that it stands for.
    pub bytes: f64,
}

/// A number that may be negative, and its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Change {
    /// The estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What the old blocks of a site did in the second half of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Growth {
    /// How their bytes changed, a minute.
    pub bytes_per_minute: Change,
    /// Sampled blocks that became old or were released when old in this time.
    pub blocks: u64,
    /// How many standard errors the growth is above 0, less one block.
    pub significance: f64,
    /// The share of old blocks that would outlive another half of the recording, at least (95 %).
    pub stay: f64,
    /// The largest share that growth can be (95 %) of what the site allocates, or has in use, whichever is more.
    pub share: f64,
    /// The last changes are less than half of what they would be if it grew evenly.
    pub slowing: bool,
    duration_ns: u64,
}

/// What is to be thought of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It grows.
    Growing,
    /// It does not grow by more than a small part of what it allocates or has in use.
    Steady,
    /// Neither can be said.
    Unknown(Reason),
}

/// Why nothing can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The recording is shorter than 5 s.
    TooShort,
    /// Most blocks live longer than the recording.
    LongLived,
    /// It grows, but old blocks are still being released.
    StillReleased,
    /// It grows, but not by more than some site of so many may by chance.
    ByChance,
    /// It grew, but less and less.
    Slowing,
    /// There are too few samples, or what it has in use goes up and down too much.
    Uncertain,
}

impl Verdict {
    /// Its name in text and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Growing => "growing",
            Self::Steady => "steady",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl Reason {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooShort => "too-short",
            Self::LongLived => "long-lived",
            Self::StillReleased => "still-released",
            Self::Slowing => "slowing",
            Self::ByChance => "by-chance",
            Self::Uncertain => "uncertain",
        }
    }
}

impl Growth {
    /// Measures the growth of a site's blocks in a recording of `duration_ns`. `unit`: bytes that one sample more would stand for.
    pub fn new(blocks: impl IntoIterator<Item = Kept>, duration_ns: u64, unit: f64) -> Self {
        let (young, half, end) = (duration_ns / 8, duration_ns / 2, duration_ns);
        let bin = |at: u64| (((at - half) as f64 / (end - half).max(1) as f64 * BINS as f64) as usize).min(BINS - 1);
        let mut changes = [0.0; BINS];
        let (mut became_old, mut released) = (Estimate::default(), Estimate::default());
        let cuts = [end / 4, half, end - end / 4];
        let mut outlived = [(0.0, Estimate::default()); 3];
        let (mut allocated, mut in_use, mut count) = (0.0, 0.0, 0);
        for Kept { made_ns, released_ns, bytes } in blocks {
            let weight = Estimate { value: bytes, variance: bytes * bytes };
            let old = made_ns.saturating_add(young);
            let until = released_ns.unwrap_or(u64::MAX);
            if old > half && old <= end {
                allocated += bytes;
            }
            if old > end || until <= old {
                continue;
            }
            let (comes, goes) = (old > half, until > half && until <= end);
            if comes {
                changes[bin(old)] += bytes;
            } else if until > half {
                in_use += bytes;
            }
            if goes {
                changes[bin(until)] -= bytes;
            }
            match (comes, goes) {
                (true, false) => became_old += weight,
                (false, true) => released += weight,
                _ => {}
            }
            count += u64::from(comes != goes);
            let age = until.min(end).saturating_sub(made_ns);
            for (cut, (time, ended)) in cuts.iter().zip(&mut outlived).filter(|(cut, _)| age > **cut) {
                *time += bytes * (age - cut) as f64;
                if until <= end {
                    *ended += weight;
                }
            }
        }
        let value = became_old.value - released.value;
        let by_blocks = became_old.variance + released.variance;
        let late = changes[BINS - LATE..].iter().sum::<f64>();
        let mean = value / BINS as f64;
        let differences = changes.iter().map(|change| (change - mean).powi(2)).sum::<f64>();
        let variance = by_blocks.max(differences * BINS as f64 / (BINS - 1) as f64);
        let change = difference(became_old, released, if by_blocks > 0.0 { variance / by_blocks } else { 1.0 }, unit);
        let minutes = ((end - half) as f64 / 60e9).max(f64::MIN_POSITIVE);
        Self {
            bytes_per_minute: Change { value: value / minutes, low: change.low / minutes, high: change.high / minutes },
            blocks: count,
            significance: if variance > 0.0 { (value - unit).max(0.0) / variance.sqrt() } else { 0.0 },
            stay: outlived
                .map(|(time, ended)| (-of_sum(ended, unit).high * (end - half) as f64 / time).exp())
                .into_iter()
                .fold(0.0, f64::max),
            slowing: late < GOES_ON * mean * LATE as f64,
            share: change.high.max(0.0) / f64::max(allocated, in_use).max(f64::MIN_POSITIVE),
            duration_ns,
        }
    }

    /// What is to be thought of one of `sites` sites. `mostly_released`: more than half of its blocks are released within the
    /// recording.
    pub fn verdict(&self, mostly_released: bool, sites: usize) -> Verdict {
        // P(Z > z) <= e^(-z²/2) / 2, so that any of them is above it with a probability of FALSE_ALARM at most.
        let threshold = (2.0 * (sites.max(1) as f64 / (2.0 * FALSE_ALARM)).ln()).sqrt();
        if self.duration_ns < SHORTEST_NS {
            Verdict::Unknown(Reason::TooShort)
        } else if self.bytes_per_minute.low <= 0.0 && self.share <= NEGLIGIBLE {
            Verdict::Steady
        } else if !mostly_released {
            Verdict::Unknown(Reason::LongLived)
        } else if self.bytes_per_minute.low <= 0.0 {
            Verdict::Unknown(Reason::Uncertain)
        } else if self.stay < STAY {
            Verdict::Unknown(Reason::StillReleased)
        } else if self.slowing {
            Verdict::Unknown(Reason::Slowing)
        } else if self.significance < threshold {
            Verdict::Unknown(Reason::ByChance)
        } else {
            Verdict::Growing
        }
    }
}

/// The difference of two sums with variances that are `inflation` times what they say.
fn difference(plus: Estimate, minus: Estimate, inflation: f64, unit: f64) -> Change {
    let interval = |sum: Estimate| of_sum(Estimate { variance: sum.variance * inflation, ..sum }, unit);
    let (p, m) = (interval(plus), interval(minus));
    let value = plus.value - minus.value;
    Change {
        value,
        low: value - (plus.value - p.low).hypot(m.high - minus.value),
        high: value + (p.high - plus.value).hypot(minus.value - m.low),
    }
}

#[cfg(test)]
mod tests {
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
        let laws: [(Law, f64); 3] = [
            (|r, _| leaking(r, 0.01), 0.01),
            (|r, _| exponential(r, 600.0), (30.0 / 600.0f64).exp().recip() * 600.0 / 30.0 * (1.0 - (-0.05f64).exp())),
            (|r, _| bimodal(r, 20.0), 0.1 * 20.0 / 30.0 * ((-1.5f64).exp() - (-3.0f64).exp())),
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
        assert_eq!(reason(|_, t| 25.0 - (t + 7.0) % 25.0, MINUTE), Verdict::Unknown(Reason::Uncertain));
        assert_eq!(judge(&[], MINUTE, 1).1, Verdict::Unknown(Reason::LongLived));
    }
}
