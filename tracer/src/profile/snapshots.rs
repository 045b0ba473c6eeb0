//! What was in use from time to time. Nothing but the recording is needed: it has when each sampled block was made and released.

use super::lifetimes::Lifetimes;
use super::live::{Amount, Source, in_use_at};
use super::name::NameIndex;
use crate::recording::Sample;

/// Snapshots at most.
const MOST: u64 = 1000;
/// Sites that have their own.
const SITES: usize = 15;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Snapshots {
    /// Time between them, nanoseconds.
    pub every_ns: u64,
    /// When they are, nanoseconds since the recording began. The last one is at its end.
    pub times_ns: Vec<u64>,
    /// Everything in use at each.
    pub total: Vec<Amount>,
    /// The sites that have most in use at the end, and what each had in use at each time.
    pub sites: Vec<(NameIndex, Vec<Amount>)>,
}

impl Snapshots {
    /// Takes snapshots every `every_ns`, or so that there are 20 to 50; but never more than 1,000.
    pub fn new(source: &Source<'_>, sites: &[Lifetimes], every_ns: Option<u64>) -> Self {
        let end_ns = source.recording.about.duration_ns;
        let every_ns = every_ns.unwrap_or_else(|| nice(end_ns)).max(end_ns.div_ceil(MOST)).max(1);
        let mut times_ns: Vec<u64> = (1..).map_while(|i| every_ns.checked_mul(i)).take_while(|&t| t < end_ns).collect();
        times_ns.push(end_ns);
        let alive =
            source.calibration.select(source.recording, |index, sample| sample.block.is_some().then_some(index));
        let shown: Vec<NameIndex> =
            sites.iter().filter(|site| site.in_use.measure.samples > 0).take(SITES).map(|site| site.name).collect();
        let place = |sample: &Sample| {
            let site = source.site(sample)?;
            shown.iter().position(|name| *name == site)
        };
        let times = times_ns.len();
        let measures = alive.sum(times * (1 + shown.len()), |index, groups| {
            let Some(sample) = source.recording.samples.get(index as usize) else { return };
            let place = place(sample);
            let first = times_ns.partition_point(|&time| time < sample.time_ns);
            let taken = times_ns[first..].iter().take_while(|&&time| in_use_at(sample, time)).count();
            for time in first..first + taken {
                groups.add(time as u32);
                if let Some(place) = place {
                    groups.add((times * (1 + place) + time) as u32);
                }
            }
        });
        let mut amounts = measures.into_iter().map(|measure| Amount::new(&alive, measure));
        let mut next = || amounts.by_ref().take(times).collect::<Vec<_>>();
        let total = next();
        Self { every_ns, times_ns, total, sites: shown.iter().map(|&name| (name, next())).collect() }
    }
}

/// A time of which 20 to 50 make the recording: 1, 2 or 5 of a power of ten.
fn nice(duration_ns: u64) -> u64 {
    let powers = (0..19).map(|power| 10u64.pow(power));
    let mut times = powers.flat_map(|power| [1, 2, 5].map(|n| n * power));
    times.find(|time| duration_ns / time < 50).unwrap_or(duration_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacing_is_a_round_number() {
        let second = 1_000_000_000;
        assert_eq!([10, 30, 60, 1200].map(|s| nice(s * second) / 1_000_000), [500, 1000, 2000, 50_000]);
        assert_eq!(nice(0), 1);
        assert!(u64::MAX / nice(u64::MAX) < 50);
    }
}
