//! Samples of a run, kept small: what repeats is stored once.

use tracer_ebpf::abi::sample::Frame;

use super::{decode::RawSample, live::Fate, numbered::Numbered, stacks::RawStack};

/// One sample; its stack and thread name are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredSample {
    /// Into [`Samples::into_parts`]'s stacks.
    pub stack: u32,
    /// Into its thread names.
    pub thread_name: u32,
    /// Process id.
    pub process: u32,
    /// Thread id.
    pub thread: u32,
    /// Slot of the probed function.
    pub function: u32,
    /// CLOCK_MONOTONIC in nanoseconds.
    pub time_ns: u64,
    /// Requested bytes.
    pub size: u64,
    /// Mean bytes between samples; 0 = all.
    pub interval: u64,
    /// What became of the block.
    pub fate: Fate,
}

/// All samples of a run.
#[derive(Debug, Default)]
pub struct Samples {
    stacks: Numbered<RawStack>,
    names: Numbered<[u8; 16]>,
    samples: Vec<StoredSample>,
    thinned: u64,
}

/// [`Samples`], resolved: stacks and thread names in the order of their numbers.
#[derive(Debug, Default)]
pub struct SampleParts {
    /// Distinct stacks.
    pub stacks: Vec<RawStack>,
    /// Distinct thread names.
    pub thread_names: Vec<String>,
    /// Samples in the order of their arrival.
    pub samples: Vec<StoredSample>,
    /// Samples that were taken and not kept.
    pub thinned: u64,
}

impl Samples {
    /// Keeps a sample. `leaf` is the probed function, for a walk that found no frame.
    pub fn push(&mut self, sample: RawSample, leaf: Frame) {
        let header = sample.header;
        self.samples.push(StoredSample {
            stack: self.stacks.number(RawStack::of(sample, leaf)),
            thread_name: self.names.number(header.thread_name),
            process: header.process,
            thread: header.thread,
            function: header.function,
            time_ns: header.time_ns,
            size: header.size,
            interval: header.interval,
            fate: Fate::Unknown,
        });
    }

    /// A sample by its number in the order of arrival.
    pub fn get(&self, index: u32) -> Option<&StoredSample> {
        self.samples.get(index as usize)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut StoredSample> {
        self.samples.get_mut(index as usize)
    }

    /// All samples, in the order of their arrival.
    pub fn iter(&self) -> impl Iterator<Item = &StoredSample> {
        self.samples.iter()
    }

    /// Keeps those that `keep` wants, in their order, and of stacks and names those that they have: a program may have ever
    /// new ones for as long as it runs.
    pub fn retain(&mut self, keep: impl FnMut(&mut StoredSample) -> bool) {
        let before = self.samples.len();
        self.samples.retain_mut(keep);
        self.thinned += (before - self.samples.len()) as u64;
        self.samples.shrink_to(2 * self.samples.len());
        let stacks = self.stacks.keep(self.samples.iter().map(|sample| sample.stack));
        let names = self.names.keep(self.samples.iter().map(|sample| sample.thread_name));
        let renumber = |number: &mut u32, numbers: &[u32]| {
            *number = numbers.get(*number as usize).copied().unwrap_or(*number);
        };
        for sample in &mut self.samples {
            renumber(&mut sample.stack, &stacks);
            renumber(&mut sample.thread_name, &names);
        }
    }

    /// Samples that are kept.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// See [`SampleParts`].
    pub fn into_parts(self) -> SampleParts {
        let text = |name: [u8; 16]| {
            let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
            String::from_utf8_lossy(&name[..end]).into_owned()
        };
        SampleParts {
            stacks: self.stacks.into_ordered(),
            thread_names: self.names.into_ordered().into_iter().map(text).collect(),
            samples: self.samples,
            thinned: self.thinned,
        }
    }
}
