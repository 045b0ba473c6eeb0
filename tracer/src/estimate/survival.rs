//! How long blocks live, when some of them still do at the end: Kaplan and Meier, J. Am. Stat. Assoc. 53 (1958) 457.
//!
//! Each sampled block stands for 1/p blocks, so that small ones are not forgotten: the share released at an age is that of the
//! weights at risk. Variances are Greenwood's (1926), where d deaths of n at risk are the share h of an effective number n = (Σw)²/Σw²
//! (Kish, *Survey Sampling*, 1965, section 11.7). They give the size that a sample without censoring would need to be as
//! precise, n* = (1-S) / (S Σ h/((1-h) n)) (Cutler and Ederer 1958; Dorey and Korn, Statistics in Medicine 6 (1987) 679), and that
//! gives Wilson's interval of S. A quantile's interval holds the ages at which S is not significantly above or below it
//! (Brookmeyer and Crowley, Biometrics 38 (1982) 29).
//!
//! Behind the last release, where S does not change but fewer and fewer blocks are left to tell, n* is at most n/S (Peto et
//! al., Br. J. Cancer 35 (1977) 1).
//!
//! Lifetimes are taken to be independent of each other and of when in the recording the block was made. Blocks that are
//! released together, as those of an arena are, count as more evidence than they are.

use super::interval::Interval;

/// 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A block that was watched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// Its age when it was released, or at the end of the recording; nanoseconds.
    pub age_ns: u64,
    /// Whether it was released.
    pub released: bool,
    /// How many blocks it stands for: 1/p.
    pub weight: f64,
}

/// The share of blocks that live longer than an age.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survival {
    /// Where it changes, or where what is known of it does, by age.
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    age_ns: u64,
    /// From this age on.
    survival: f64,
    /// How many independent blocks would tell as much.
    effective: f64,
    /// Blocks were released at this age.
    released: bool,
}

/// The age by which a share of the blocks is released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantile {
    /// The estimate, nanoseconds; `None` where fewer are released while the recording lasts.
    pub value: Option<u64>,
    /// Lower end of its 95 % interval.
    pub low: u64,
    /// Upper end; `None` where there is none, since not enough blocks were released.
    pub high: Option<u64>,
}

impl Survival {
    /// Estimates it. Costs sorting.
    pub fn new(mut blocks: Vec<Observed>) -> Self {
        blocks.retain(|block| block.weight > 0.0);
        // At the same age, releases come before blocks that were only watched so far.
        blocks.sort_unstable_by_key(|block| (block.age_ns, !block.released));
        // Those at risk at each block's age: sums of weights and of their squares, from the oldest on.
        let mut at_risk = vec![(0.0, 0.0); blocks.len() + 1];
        for (i, block) in blocks.iter().enumerate().rev() {
            at_risk[i] = (at_risk[i + 1].0 + block.weight, at_risk[i + 1].1 + block.weight * block.weight);
        }
        let number = |i: usize| if at_risk[i].1 > 0.0 { at_risk[i].0 * at_risk[i].0 / at_risk[i].1 } else { 0.0 };
        let last_release = blocks.iter().rposition(|block| block.released);
        let start = Step { age_ns: 0, survival: 1.0, effective: number(0), released: false };
        let (mut steps, mut now, mut greenwood) = (vec![start], start, 0.0);
        let mut i = 0;
        while i < blocks.len() {
            let (age_ns, first) = (blocks[i].age_ns, i);
            let mut released = 0.0;
            while let Some(block) = blocks.get(i).filter(|block| block.age_ns == age_ns) {
                released += if block.released { block.weight } else { 0.0 };
                i += 1;
            }
            if released > 0.0 {
                let share = released / at_risk[first].0;
                // Rounding must not leave a sliver of the last block.
                now.survival = if share > 1.0 - 1e-12 { 0.0 } else { now.survival * (1.0 - share) };
                if now.survival > 0.0 {
                    greenwood += share / ((1.0 - share) * number(first));
                    now.effective = (1.0 - now.survival) / (now.survival * greenwood);
                } else if greenwood == 0.0 {
                    now.effective = number(first);
                }
                steps.push(Step { age_ns, released: true, ..now });
            } else if last_release.is_none_or(|last| first > last) {
                let effective = now.effective.min(number(i) / now.survival.max(f64::MIN_POSITIVE));
                steps.push(Step { age_ns, effective, released: false, ..now });
            }
        }
        Self { steps }
    }

    /// The share of blocks that live longer than `age_ns`; beyond the oldest one watched, that of this age.
    pub fn at(&self, age_ns: u64) -> f64 {
        let behind = self.steps.partition_point(|step| step.age_ns <= age_ns);
        self.steps[..behind].last().map_or(1.0, |step| step.survival)
    }

    /// The same with its 95 % interval.
    pub fn within(&self, age_ns: u64) -> (f64, Interval) {
        let reached = &self.steps[..self.steps.partition_point(|step| step.age_ns <= age_ns)];
        // No more live longer than lived this long.
        let high = reached.iter().map(|step| limits(step).1).fold(1.0, f64::min);
        let low = reached.last().map_or(0.0, |step| limits(step).0.max(0.0));
        (self.at(age_ns), Interval { low, high })
    }

    /// The greatest age that was watched, nanoseconds.
    pub fn oldest_ns(&self) -> u64 {
        self.steps.last().map_or(0, |step| step.age_ns)
    }

    /// The age by which the share `released` in (0, 1) of the blocks is released: 0.5 for the median.
    pub fn quantile(&self, released: f64) -> Quantile {
        let left = 1.0 - released;
        let first = |reached: &dyn Fn(&Step) -> bool| self.steps.iter().find(|step| reached(step));
        // An age at which a share is released is one at which blocks were released.
        let age = |reached: &dyn Fn(&Step) -> bool| {
            let step = first(&|step| step.released && reached(step));
            step.map(|step| step.age_ns)
        };
        Quantile {
            value: age(&|step| step.survival <= left),
            low: first(&|step| limits(step).0 <= left).map_or(self.oldest_ns(), |step| step.age_ns),
            high: age(&|step| limits(step).1 <= left),
        }
    }
}

/// Wilson's 95 % interval of the share (J. Am. Stat. Assoc. 22 (1927) 209).
fn limits(step: &Step) -> (f64, f64) {
    let Step { survival: s, effective: n, .. } = *step;
    if n <= 0.0 {
        return (0.0, 1.0);
    }
    let half = Z * (s * (1.0 - s) / n + Z * Z / (4.0 * n * n)).sqrt();
    let (middle, scale) = (s + Z * Z / (2.0 * n), 1.0 + Z * Z / n);
    ((middle - half) / scale, (middle + half) / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    fn observed(blocks: &[(u64, bool)]) -> Survival {
        Survival::new(blocks.iter().map(|&(age_ns, released)| Observed { age_ns, released, weight: 1.0 }).collect())
    }

    /// The weeks of remission under 6-MP in Freireich et al., Blood 21 (1963) 699, which textbooks use: S(23) = 0.448, its
    /// standard error by Greenwood's formula is 0.135.
    #[test]
    fn agrees_with_the_textbooks() {
        let weeks = [6, 6, 6, 7, 10, 13, 16, 22, 23].map(|week| (week, true));
        let censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35].map(|week| (week, false));
        let survival = observed(&[&weeks[..], &censored[..]].concat());
        for (week, share) in
            [(5, 1.0), (6, 0.857), (7, 0.807), (10, 0.753), (13, 0.690), (16, 0.627), (22, 0.538), (40, 0.448)]
        {
            assert!((survival.at(week) - share).abs() < 0.0006, "{week}: {}", survival.at(week));
        }
        let step = survival.steps.iter().find(|step| step.age_ns == 23).unwrap();
        let error = (step.survival * (1.0 - step.survival) / step.effective).sqrt();
        assert!((error - 0.1346).abs() < 0.0005, "{error}");
        let Quantile { value, low, high } = survival.quantile(0.5);
        assert_eq!((value, high), (Some(23), None));
        assert!((10..=16).contains(&low), "{low}");
    }

    #[test]
    fn what_was_not_watched_is_not_known() {
        let survival = observed(&[[(10, true); 50], [(20, false); 50]].concat());
        let (share, interval) = survival.within(10);
        assert!(share == 0.5 && 0.4 < interval.low && interval.high < 0.6, "{interval:?}");
        let (share, interval) = survival.within(30);
        assert!(share == 0.5 && interval.low == 0.0 && interval.high < 0.6, "{interval:?}");
        assert_eq!(observed(&[]).within(1), (1.0, Interval { low: 0.0, high: 1.0 }));
    }

    #[test]
    fn weights_are_blocks() {
        let once = |age_ns, weight| Observed { age_ns, released: true, weight };
        let survival = Survival::new(vec![once(10, 3.0), once(20, 1.0)]);
        assert_eq!((survival.at(9), survival.at(10), survival.at(20)), (1.0, 0.25, 0.0));
        assert_eq!(survival.quantile(0.5).value, Some(10));
    }

    #[test]
    fn lifetimes_that_are_all_the_same_have_no_spread() {
        let survival = observed(&vec![(777, true); 1000]);
        assert_eq!(survival.quantile(0.5), Quantile { value: Some(777), low: 777, high: Some(777) });
        assert_eq!(survival.quantile(0.9), Quantile { value: Some(777), low: 777, high: Some(777) });
    }

    #[test]
    fn too_few_blocks_leave_it_open() {
        assert_eq!(observed(&[]).quantile(0.5), Quantile::default());
        // That one of one or three was released says little of the next.
        assert_eq!(observed(&[(5, true)]).quantile(0.5), Quantile { value: Some(5), low: 0, high: None });
        assert_eq!(observed(&[(5, true); 3]).quantile(0.5).high, None);
        // Hundreds say that it is longer than what they were watched for.
        let none_released = observed(&vec![(60, false); 300]);
        assert_eq!(none_released.quantile(0.5), Quantile { value: None, low: 60, high: None });
        // But not if only one of them was watched for long.
        let mut blocks = vec![(1, false); 300];
        blocks.push((60, false));
        assert_eq!(observed(&blocks).quantile(0.5), Quantile { value: None, low: 1, high: None });
    }

    /// Quantiles of known distributions lie in their intervals about as often as they should, with weights that differ and a
    /// recording that is shorter than the longest lifetimes.
    #[test]
    fn intervals_hold_the_true_quantiles() {
        const RUNS: u32 = 1000;
        let mut random = Random::new(11);
        type Law = fn(f64) -> f64;
        // Lifetimes in nanoseconds from a uniform number; their median and their 90 % quantile.
        let exponential: (Law, f64, f64) = (|u| -u.ln() * 1e6, 2f64.ln() * 1e6, 10f64.ln() * 1e6);
        let pareto: (Law, f64, f64) = (|u| 1e5 * (1.0 / u - 1.0), 1e5, 9e5);
        let uniform: (Law, f64, f64) = (|u| u * 1e6, 5e5, 9e5);
        for (name, (law, median, p90), duration) in
            [("exponential", exponential, 3e6), ("pareto", pareto, 4e6), ("uniform", uniform, 1.5e6)]
        {
            for n in [20, 60, 400] {
                let mut covered = [0; 2];
                for _ in 0..RUNS {
                    let blocks = (0..n).map(|i| {
                        let (lifetime, watched) = (law(random.unit()), duration * random.unit());
                        let weight = if i % 4 == 0 { 3.0 } else { 1.0 };
                        let released = lifetime <= watched;
                        Observed { age_ns: lifetime.min(watched) as u64, released, weight }
                    });
                    let survival = Survival::new(blocks.collect());
                    for (covered, (share, truth)) in covered.iter_mut().zip([(0.5, median), (0.9, p90)]) {
                        let Quantile { value, low, high } = survival.quantile(share);
                        assert!(value.is_none_or(|value| low <= value && high.is_none_or(|high| value <= high)));
                        *covered += u32::from(low as f64 <= truth && high.is_none_or(|high| truth <= high as f64));
                    }
                }
                let share = covered.map(|c| f64::from(c) / f64::from(RUNS));
                println!("{name}, {n} blocks: {share:.3?}");
                assert!(share.iter().all(|share| (0.925..=0.99).contains(share)), "{name}, {n}: {share:?}");
            }
        }
    }
}
