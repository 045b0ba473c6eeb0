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
    room::Room,
    samples::{Samples, StoredSample},
    thin::{self, Random, Sizes, Unit},
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

    /// Keeps memory bounded; to be called often. Returns the interval to sample with from now on, where it must be raised since
    /// too many blocks are in use; `interval` is that in force. Samples of blocks that are not in use have `room`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn keep_bounded(
        &mut self,
        map: &LiveMap,
        samples: &mut Samples,
        room: &mut Room,
        interval: u64,
    ) -> io::Result<Option<u64>> {
        // Processes that are gone can wait for each other.
        let is_full = room.is_full(samples.len().saturating_sub(self.in_use()));
        if self.gone.len() < MAX_GONE && self.in_use() <= self.limit && !is_full {
            return Ok(None);
        }
        let live = map.read()?;
        self.forget_ended(map, &live, samples)?;
        let mut live: Vec<_> = live.into_iter().filter(|(_, block)| self.pending.contains_key(&id(block))).collect();
        self.absent = self.pending.len() - live.len();
        self.counts.peak = self.counts.peak.max(live.len() as u64);
        let is_crowded = live.len() > limit(self.max);
        // There were fewer than it seemed: not again for every block that comes and goes.
        self.limit = limit(self.max).max(live.len() + self.max / 16);
        let mut raised = None;
        if is_crowded {
            let is_live = self.which(&live, samples.len());
            let in_use = samples.iter().zip(&is_live).filter(|(_, is_live)| **is_live).map(|(sample, _)| sample);
            let to = Sizes::of(Unit::Bytes, in_use).interval_for(self.max / 2, interval);
            let places = thin::thin(samples, Unit::Bytes, to, |index| is_live[index], &mut self.random);
            self.moved(&places);
            for (key, block) in live.extract_if(.., |(_, block)| !self.pending.contains_key(&id(block))) {
                remove(map, key, block, &mut self.counts)?;
            }
            self.counts.raised += 1;
            raised = Some(to);
        }
        if room.is_full(samples.len() - live.len()) {
            let is_live = self.which(&live, samples.len());
            let places = room.make(samples, interval, |index| !is_live[index]);
            self.moved(&places);
            self.absent = self.pending.len().saturating_sub(live.len());
        }
        Ok(raised)
    }

    /// Which samples are of these blocks.
    fn which(&self, live: &[(BlockKey, Block)], samples: usize) -> Vec<bool> {
        let mut which = vec![false; samples];
        for (_, block) in live {
            if let Some(is_live) = self.pending.get(&id(block)).and_then(|&index| which.get_mut(index as usize)) {
                *is_live = true;
            }
        }
        which
    }

    /// Samples have other places now, or none.
    fn moved(&mut self, places: &[Option<u32>]) {
        self.pending.retain(|_, index| {
            let place = places.get(*index as usize).copied().flatten();
            *index = place.unwrap_or(*index);
            place.is_some()
        });
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

    /// Removes the blocks of processes that are gone, and those whose release could not be told.
    fn forget_ended(&mut self, map: &LiveMap, live: &[(BlockKey, Block)], samples: &mut Samples) -> io::Result<()> {
        let (gone, pending) = (std::mem::take(&mut self.gone), &self.pending);
        let is_gone = |(key, block): &&(BlockKey, Block)| {
            let is_told_now = block.released_ns != 0 && pending.contains_key(&id(block));
            is_told_now || gone.get(&key.process).is_some_and(|&time_ns| block.time_ns <= time_ns)
        };
        let theirs: Vec<(BlockKey, Block)> = live.iter().filter(is_gone).copied().collect();
        for &(key, block) in &theirs {
            remove(map, key, block, &mut self.counts)?;
        }
        self.settle(&theirs, samples);
        Ok(())
    }
}

fn remove(map: &LiveMap, key: BlockKey, block: Block, counts: &mut Counts) -> io::Result<()> {
    match map.remove(key, block) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => counts.lost += 1,
        result => drop(result?),
    }
    Ok(())
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
