//! Sampled blocks in use, from the records of their samples and releases.
//!
//! A sample is expected to be a block in use until its release comes. Whether the call returned at all, the kernel's map of
//! live blocks knows: it is read when there are too many, when a process ends, and at the end.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use tracer_ebpf::abi::live::{Block, BlockKey, Release, ReleaseKind};

use super::{
    discover::Probed,
    samples::{Samples, StoredSample},
    thin::{self, Random},
};
use crate::{
    allocators::{End, plan::Unseen},
    probe::live_map::LiveMap,
};

/// What became of a sampled block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// Nothing is known: it was not followed, or its call has not returned a block.
    #[default]
    Unknown,
    /// In use when the recording or the process ended.
    InUse,
    /// Given back.
    Released {
        /// When, CLOCK_MONOTONIC in nanoseconds.
        ns: u64,
        /// By which thread; 0 = not seen.
        by: u32,
    },
}

/// A block's sample: its thread and time. No two have both in common.
type Id = (u32, u64);

/// See the module.
#[derive(Debug)]
pub struct Blocks {
    /// Samples without a release, with their index.
    pending: HashMap<Id, u32>,
    /// Of these, how many were not in the kernel's map when it was last read.
    absent: usize,
    /// Most that the kernel's map holds.
    max: usize,
    /// With more than this in use the map is worth reading.
    limit: usize,
    /// Processes that ended or ran another program, and when; their blocks are still in the kernel's map.
    gone: BTreeMap<u32, u64>,
    random: Random,
    /// Counts for people.
    pub counts: Counts,
}

/// See [`Blocks::counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blocks in use at once, at most.
    pub peak: u64,
    /// Intervals raised.
    pub raised: u64,
    /// Blocks whose address was handed out again without a release.
    pub missed: u64,
    /// Blocks that were followed no longer because another took their place while samples were thinned.
    pub lost: u64,
}

/// Processes whose blocks wait to be removed from the kernel's map, at most.
const MAX_GONE: usize = 64;
/// Samples that are kept for each block that fits the kernel's map, at most.
const SAMPLES_FOR_EACH: usize = 4;

impl Blocks {
    /// `max`: blocks that the kernel's map holds.
    pub fn new(max: u32, seed: u64) -> Self {
        Self {
            pending: HashMap::new(),
            absent: 0,
            max: max as usize,
            limit: limit(max as usize),
            gone: BTreeMap::new(),
            random: Random::new(seed),
            counts: Counts::default(),
        }
    }

    /// A block was sampled.
    pub fn sampled(&mut self, thread: u32, time_ns: u64, index: usize) {
        self.pending.insert((thread, time_ns), index as u32);
    }

    /// A block was released. Those that are not known were thinned out, or their samples lost.
    pub fn released(&mut self, release: &Release, samples: &mut Samples) {
        let Some(index) = self.pending.remove(&(release.allocated_by, release.allocated_ns)) else { return };
        self.counts.missed += u64::from(release.how == ReleaseKind::HandedOutAgain as u32);
        set(samples, index, Fate::Released { ns: release.time_ns, by: release.thread });
    }

    /// A process runs another program: its memory is gone.
    pub fn executed(&mut self, process: u32, time_ns: u64, samples: &mut Samples) {
        self.pending.retain(|_, index| {
            let stays = samples.get(*index).is_none_or(|sample| sample.process != process);
            if !stays {
                set(samples, *index, Fate::Released { ns: time_ns, by: process });
            }
            stays
        });
        self.gone.insert(process, time_ns);
    }

    /// A process has ended: what it has not released stays in use.
    pub fn exited(&mut self, process: u32, time_ns: u64) {
        self.gone.insert(process, time_ns);
    }

    /// Keeps memory bounded; to be called often. Returns the interval to sample with from now on, where it must be raised;
    /// `interval` is that in force.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn keep_bounded(&mut self, map: &LiveMap, samples: &mut Samples, interval: u64) -> io::Result<Option<u64>> {
        let too_many_samples = samples.len() > self.max * SAMPLES_FOR_EACH;
        // Processes that are gone can wait for each other.
        if self.gone.len() < MAX_GONE && self.in_use() <= self.limit && !too_many_samples {
            return Ok(None);
        }
        let live = map.read()?;
        self.forget_gone(map, &live, samples)?;
        let live: Vec<_> = live.into_iter().filter(|(_, block)| self.pending.contains_key(&id(block))).collect();
        self.absent = self.pending.len() - live.len();
        self.counts.peak = self.counts.peak.max(live.len() as u64);
        let is_crowded = live.len() > limit(self.max);
        // There were fewer than it seemed: not again for every block that comes and goes.
        self.limit = limit(self.max).max(live.len() + self.max / 16);
        if !is_crowded && !too_many_samples {
            return Ok(None);
        }
        let of_block = |(_, block): &(BlockKey, Block)| {
            let sample = samples.get(*self.pending.get(&id(block))?)?;
            Some((sample.size, sample.interval))
        };
        let in_use: Vec<(u64, u64)> = live.iter().filter_map(of_block).collect();
        let mut to = interval;
        if is_crowded {
            to = thin::interval_for(&in_use, self.max / 2, interval);
        }
        if too_many_samples {
            let all: Vec<(u64, u64)> = samples.iter().map(|sample| (sample.size, sample.interval)).collect();
            to = to.max(thin::interval_for(&all, self.max * SAMPLES_FOR_EACH / 2, interval));
        }
        self.thin(map, &live, samples, to)?;
        self.counts.raised += 1;
        Ok(Some(to))
    }

    /// What is in use at the end. Returns how many blocks nothing is known of.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn finish(&mut self, map: &LiveMap, samples: &mut Samples) -> io::Result<u64> {
        self.settle(&map.read()?, samples);
        self.counts.peak = self.counts.peak.max(peak(samples.iter()));
        Ok(self.pending.len() as u64)
    }

    /// Blocks that are probably in use.
    fn in_use(&self) -> usize {
        self.pending.len().saturating_sub(self.absent)
    }

    /// Takes what the kernel's map says about blocks as the last word.
    fn settle(&mut self, live: &[(BlockKey, Block)], samples: &mut Samples) {
        for (_, block) in live {
            let Some(index) = self.pending.remove(&id(block)) else { continue };
            let fate = match block.released_ns {
                0 => Fate::InUse,
                ns => Fate::Released { ns, by: block.released_by },
            };
            set(samples, index, fate);
        }
    }

    /// Removes the blocks of processes that are gone.
    fn forget_gone(&mut self, map: &LiveMap, live: &[(BlockKey, Block)], samples: &mut Samples) -> io::Result<()> {
        let gone = std::mem::take(&mut self.gone);
        let is_gone =
            |(key, block): &&(BlockKey, Block)| gone.get(&key.process).is_some_and(|&time_ns| block.time_ns <= time_ns);
        let theirs: Vec<(BlockKey, Block)> = live.iter().filter(is_gone).copied().collect();
        for &(key, block) in &theirs {
            self.remove(map, key, block)?;
        }
        self.settle(&theirs, samples);
        Ok(())
    }

    fn remove(&mut self, map: &LiveMap, key: BlockKey, block: Block) -> io::Result<()> {
        match map.remove(key, block) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => self.counts.lost += 1,
            result => drop(result?),
        }
        Ok(())
    }

    fn thin(&mut self, map: &LiveMap, live: &[(BlockKey, Block)], samples: &mut Samples, to: u64) -> io::Result<()> {
        let places = thin::thin(samples, to, &mut self.random);
        self.pending.retain(|_, index| match places.get(*index as usize).copied().flatten() {
            Some(place) => {
                *index = place;
                true
            }
            None => false,
        });
        for &(key, block) in live {
            if !self.pending.contains_key(&id(&block)) {
                self.remove(map, key, block)?;
            }
        }
        Ok(())
    }
}

/// With more blocks in use the interval is raised.
fn limit(max: usize) -> usize {
    max / 4 * 3
}

/// Most blocks in use at once.
fn peak<'a>(samples: impl Iterator<Item = &'a StoredSample>) -> u64 {
    let mut changes: Vec<(u64, i64)> = Vec::new();
    for sample in samples {
        match sample.fate {
            Fate::Unknown => {}
            Fate::InUse => changes.push((sample.time_ns, 1)),
            Fate::Released { ns, .. } => changes.extend([(sample.time_ns, 1), (ns, -1)]),
        }
    }
    changes.sort_unstable();
    let mut in_use = 0i64;
    let levels = changes.into_iter().map(|(_, change)| {
        in_use += change;
        in_use
    });
    levels.max().unwrap_or(0) as u64
}

/// Whether the blocks of a function are followed.
pub fn is_followed(probed: &Probed) -> bool {
    matches!(probed.point.end, End::Return | End::Exits(_))
}

/// The first of these functions whose blocks cannot be followed: its family, and why not.
pub fn first_unseen(points: &[Probed]) -> Option<(&'static str, Unseen)> {
    points.iter().find_map(|probed| Some((probed.point.family, unseen(probed)?)))
}

/// Says for people whose blocks are not followed.
pub fn notes(points: &[Probed]) -> impl Iterator<Item = String> {
    let note = |probed: &Probed| {
        let (function, family) = (&probed.point.function, probed.point.family);
        Some(format!("blocks of {function} ({family}) were not followed: {}", unseen(probed)?))
    };
    points.iter().filter_map(note)
}

fn unseen(probed: &Probed) -> Option<Unseen> {
    match probed.point.end {
        End::Unseen(why) => Some(why),
        _ => None,
    }
}

fn id(block: &Block) -> Id {
    (block.thread, block.time_ns)
}

fn set(samples: &mut Samples, index: u32, fate: Fate) {
    if let Some(sample) = samples.get_mut(index) {
        sample.fate = fate;
    }
}
