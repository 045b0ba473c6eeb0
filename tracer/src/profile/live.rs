//! The live heap: what became of the sampled blocks of a recording that followed releases.

use super::lifetimes::Lifetimes;
use super::name::NameIndex;
use super::peak;
use super::snapshots::Snapshots;
use super::suspects::Suspects;
use super::{Options, View};
use crate::estimate::{Calibration, Exact, Interval, Measure};
use crate::recording::{Block, Recording, Sample};

/// How long a temporary block lives at most, unless something else is asked for.
const TEMPORARY_NS: u64 = 1_000_000;

/// See the module. Amounts are estimates of blocks made while recording; of those made before nothing is known.
#[derive(Clone, Debug)]
pub struct LiveHeap {
    /// In use at the end.
    pub in_use: Amount,
    /// In use when most was.
    pub peak: Peak,
    /// Released by their thread right after they were made.
    pub temporary: Temporary,
    /// Sites, with how long their blocks live and what they have in use. Most bytes in use first.
    pub sites: Vec<Lifetimes>,
    /// Which of them grow.
    pub suspects: Suspects,
    /// What was in use from time to time.
    pub snapshots: Snapshots,
    /// Calls that were counted, but of whose function or size no sample was followed: in no view but `allocated`.
    pub not_followed: Exact,
}

/// An amount with its 95 % intervals.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amount {
    /// The estimates.
    pub measure: Measure,
    /// Interval of the bytes.
    pub bytes: Interval,
    /// Interval of the objects.
    pub objects: Interval,
}

impl Amount {
    /// A group's amount.
    pub fn new(calibration: &Calibration, measure: Measure) -> Self {
        let (bytes, objects) = (calibration.bytes_interval(&measure), calibration.objects_interval(&measure));
        Self { measure, bytes, objects }
    }
}

/// The moment when most bytes were in use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Peak {
    /// When, nanoseconds since the recording began.
    pub time_ns: u64,
    /// What was in use then. The interval is that of what was in use at this moment; the moment was chosen by other samples
    /// than those that this is estimated from, see [`super::peak`].
    pub amount: Amount,
}

/// Blocks that their thread released right after it had made them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Temporary {
    /// Within this time, nanoseconds.
    pub within_ns: u64,
    /// How many there were.
    pub amount: Amount,
    /// Those that were younger than this at the end, and still in use: nobody knows.
    pub undecided: Amount,
}

/// A sampled block with what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Followed<'a> {
    /// Its index in the recording.
    pub index: u32,
    /// Its allocation.
    pub sample: &'a Sample,
    /// Its release.
    pub block: Block,
}

impl Followed<'_> {
    /// Its age when it was released, or at the end; nanoseconds.
    pub fn age_ns(&self, end_ns: u64) -> u64 {
        self.block.released_ns.unwrap_or(end_ns).saturating_sub(self.sample.time_ns)
    }
}

/// The sampled blocks of a recording that were followed.
pub fn followed(recording: &Recording) -> impl Iterator<Item = Followed<'_>> {
    let samples = (0..).zip(&recording.samples);
    samples.filter_map(|(index, sample)| Some(Followed { index, sample, block: sample.block? }))
}

/// Whether a block was in use at a time.
pub fn in_use_at(sample: &Sample, time_ns: u64) -> bool {
    sample.block.is_some_and(|block| sample.time_ns <= time_ns && block.released_ns.is_none_or(|at| at > time_ns))
}

/// A recording that followed releases, and its weights.
pub struct Source<'a> {
    /// The samples that were followed: [`crate::estimate::followed`].
    pub recording: &'a Recording,
    /// Their weights.
    pub calibration: &'a Calibration,
    /// What was counted of functions of which none was: [`crate::estimate::followed::not_followed`].
    pub not_followed: Exact,
    /// The site of each stack.
    pub sites: &'a [Option<NameIndex>],
    /// How many names there are.
    pub names: usize,
}

impl Source<'_> {
    /// Weights of the samples of a view.
    pub fn select(&self, keep: impl Fn(&Sample) -> bool) -> Calibration {
        self.calibration.select(self.recording, |_, sample| keep(sample).then_some(sample.stack))
    }

    /// Bytes that a block stands for.
    pub fn bytes(&self, sample: &Sample) -> f64 {
        self.calibration.weight(&self.recording.about, sample).0
    }

    /// The site of a sample.
    pub fn site(&self, sample: &Sample) -> Option<NameIndex> {
        self.sites.get(sample.stack as usize).copied().flatten()
    }

    /// The amounts of all sites, by name.
    pub fn by_site(&self, calibration: &Calibration) -> Vec<Measure> {
        calibration.sum(self.names, |stack, groups| {
            if let Some(site) = self.sites.get(stack as usize).copied().flatten() {
                groups.add(site);
            }
        })
    }
}

impl LiveHeap {
    /// Looks at the blocks of a recording. Returns the weights of the samples of the view too, unless these are all.
    pub fn new(source: &Source<'_>, view: View, options: &Options) -> (Self, Option<Calibration>) {
        let end_ns = source.recording.about.duration_ns;
        let mut not_followed = source.not_followed;
        not_followed += source.calibration.unattributed();
        let in_use = source.select(|sample| sample.block.is_some_and(|block| block.released_ns.is_none()));
        let (time_ns, peak) = peak::find(source, &in_use);
        let within_ns = options.temporary_ns.unwrap_or(TEMPORARY_NS);
        let temporary = source.select(|sample| is_temporary(sample, within_ns));
        let undecided = source.select(|sample| {
            let open = sample.block.is_some_and(|block| block.released_ns.is_none());
            open && end_ns.saturating_sub(sample.time_ns) < within_ns
        });
        let all = |calibration: &Calibration| Amount::new(calibration, calibration.attributed());
        let (sites, suspects) = super::lifetimes::of_sites(source, &in_use);
        let live = Self {
            in_use: all(&in_use),
            peak: Peak { time_ns, amount: all(&peak) },
            temporary: Temporary { within_ns, amount: all(&temporary), undecided: all(&undecided) },
            snapshots: Snapshots::new(source, &sites, options.snapshot_every_ns),
            sites,
            suspects,
            not_followed,
        };
        let calibration = match view {
            View::Allocated => None,
            View::InUse => Some(in_use),
            View::Peak => Some(peak),
            View::Temporary => Some(temporary),
        };
        (live, calibration)
    }
}

/// Whether a block's thread released it within a time.
fn is_temporary(sample: &Sample, within_ns: u64) -> bool {
    sample.block.is_some_and(|block| {
        let age = block.released_ns.map(|released| released.saturating_sub(sample.time_ns));
        age.is_some_and(|age| age < within_ns) && block.released_by == sample.thread
    })
}

#[cfg(test)]
mod tests;
