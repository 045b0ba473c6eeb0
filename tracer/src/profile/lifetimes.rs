//! How long the blocks of each site live.

use super::live::{Amount, Followed, Source, followed};
use super::name::NameIndex;
use super::suspects::{Suspect, Suspects};
use crate::estimate::growth::{Growth, Kept};
use crate::estimate::inclusion::weigh;
use crate::estimate::survival::{Observed, Quantile, Survival};
use crate::estimate::{Calibration, Interval};

/// The first of [`Lifetimes::survival`]'s ages, nanoseconds; each other one is ten times as long.
const FIRST_AGE_NS: u64 = 1_000;
/// Ages. The last one is 100 s.
const AGES: u32 = 9;

/// How long the blocks of a site live.
#[derive(Clone, Debug)]
pub struct Lifetimes {
    /// The function.
    pub name: NameIndex,
    /// What it has in use at the end.
    pub in_use: Amount,
    /// Sampled blocks.
    pub samples: u64,
    /// Sampled blocks that were released.
    pub released: u64,
    /// The age of the oldest sampled block in use, nanoseconds.
    pub oldest_ns: Option<u64>,
    /// The age by which half of the blocks are released.
    pub median: Quantile,
    /// The age by which 90 % of them are.
    pub p90: Quantile,
    /// The share of blocks that live longer than 1 µs, 10 µs, … 100 s.
    pub survival: Vec<Survivors>,
}

/// The share of blocks that live longer than an age.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Survivors {
    /// The age, nanoseconds.
    pub age_ns: u64,
    /// The share.
    pub share: f64,
    /// Its 95 % interval.
    pub interval: Interval,
}

/// Lifetimes of the blocks of each site, most bytes in use first, and which sites grow. Costs sorting the samples.
pub fn of_sites(source: &Source<'_>, in_use: &Calibration) -> (Vec<Lifetimes>, Suspects) {
    let end_ns = source.recording.about.duration_ns;
    let mut blocks: Vec<(NameIndex, Followed<'_>)> =
        followed(source.recording).filter_map(|block| Some((source.site(block.sample)?, block))).collect();
    blocks.sort_by_key(|(site, _)| *site);
    let in_use_by_site = source.by_site(in_use);
    let mut sites = Vec::new();
    let mut growths = Vec::new();
    for blocks in blocks.chunk_by(|a, b| a.0 == b.0) {
        let Some(&(name, _)) = blocks.first() else { continue };
        let measure = in_use_by_site.get(name as usize).copied().unwrap_or_default();
        let site = lifetimes(name, blocks, Amount::new(in_use, measure), end_ns);
        growths.push((growth(source, blocks, end_ns), site.median.value.is_some(), site.oldest_ns, name));
        sites.push(site);
    }
    sites.sort_by(|a, b| {
        let (a_bytes, b_bytes) = (a.in_use.measure.bytes.value, b.in_use.measure.bytes.value);
        b_bytes.total_cmp(&a_bytes).then(b.samples.cmp(&a.samples)).then(a.name.cmp(&b.name))
    });
    let tested = growths.len();
    let suspects = growths.into_iter().map(|(growth, mostly_released, oldest_ns, name)| Suspect {
        name,
        growth,
        verdict: growth.verdict(mostly_released, tested),
        oldest_ns,
    });
    (sites, Suspects::new(suspects.collect()))
}

fn lifetimes(name: NameIndex, blocks: &[(NameIndex, Followed<'_>)], in_use: Amount, end_ns: u64) -> Lifetimes {
    let observed = blocks.iter().map(|(_, block)| Observed {
        age_ns: block.age_ns(end_ns),
        released: block.block.released_ns.is_some(),
        weight: weigh(block.sample.size, block.sample.interval, 1.0).objects.value,
    });
    let survival = Survival::new(observed.collect());
    let open = blocks.iter().filter(|(_, block)| block.block.released_ns.is_none());
    Lifetimes {
        name,
        in_use,
        samples: blocks.len() as u64,
        released: blocks.iter().filter(|(_, block)| block.block.released_ns.is_some()).count() as u64,
        oldest_ns: open.map(|(_, block)| block.age_ns(end_ns)).max(),
        median: survival.quantile(0.5),
        p90: survival.quantile(0.9),
        survival: survivors(&survival),
    }
}

fn growth(source: &Source<'_>, blocks: &[(NameIndex, Followed<'_>)], end_ns: u64) -> Growth {
    let kept = blocks.iter().map(|(_, block)| Kept {
        made_ns: block.sample.time_ns,
        released_ns: block.block.released_ns,
        bytes: source.bytes(block.sample),
    });
    let mean = kept.clone().map(|kept| kept.bytes).sum::<f64>() / blocks.len().max(1) as f64;
    Growth::new(kept, end_ns, mean)
}

fn survivors(survival: &Survival) -> Vec<Survivors> {
    let ages = (0..AGES).map(|power| FIRST_AGE_NS * 10u64.pow(power));
    let survivors = ages.map(|age_ns| {
        let (share, interval) = survival.within(age_ns);
        Survivors { age_ns, share, interval }
    });
    survivors.collect()
}
