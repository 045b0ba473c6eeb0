//! What the allocation program counted, for those who watch its cost: read often and from a thread of their own.

use std::os::fd::BorrowedFd;

use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray};
use tracer_ebpf::abi::{
    allocation::{Countdown, FunctionCounters},
    process::Process,
    tally::{Tallies, Tally},
};

use super::value::Value;

/// Second descriptors of maps.
pub struct Meter {
    counters: PerCpuArray<MapData, Value<FunctionCounters>>,
    countdown: PerCpuArray<MapData, Value<Countdown>>,
    tallies: PerCpuArray<MapData, Tallies>,
    processes: HashMap<MapData, u32, Value<Process>>,
}

/// Sums since the programs were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traps {
    /// Hits, whether they counted or not.
    pub hits: u64,
    /// Nanoseconds spent on sampled ones, besides what every hit costs.
    pub sampling_ns: u64,
}

/// Exact calls and their bytes since the programs were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Allocations.
    pub calls: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Meter {
    pub(super) fn new<'a>(map: impl Fn(&'static str) -> Option<BorrowedFd<'a>>) -> Result<Self, MapError> {
        let again = |name| {
            let fd = map(name).ok_or_else(|| MapError::InvalidName { name: name.to_owned() })?;
            let fd = fd.try_clone_to_owned()?;
            MapData::from_fd(fd)
        };
        let per_cpu = |name| Ok::<_, MapError>(Map::PerCpuArray(again(name)?));
        Ok(Self {
            counters: per_cpu("COUNTERS")?.try_into()?,
            countdown: per_cpu("COUNTDOWN")?.try_into()?,
            tallies: per_cpu("TALLIES")?.try_into()?,
            processes: Map::HashMap(again("PROCESSES")?).try_into()?,
        })
    }

    /// All traps. Costs two short system calls; hits that count may be missing by a few, see [`Countdown::hits`].
    ///
    /// # Errors
    /// What the kernel says.
    pub fn traps(&self) -> Result<Traps, MapError> {
        let counted: u64 = self.countdown.get(&0, 0)?.iter().map(|cpu| cpu.0.hits).sum();
        let tallies = self.tallies()?;
        let uncounted =
            [Tally::Closed, Tally::Delegated, Tally::Foreign, Tally::Followed].map(|tally| tallies[tally as usize]);
        let hits = counted + uncounted.iter().sum::<u64>();
        Ok(Traps { hits, sampling_ns: tallies[Tally::SamplingNs as usize] })
    }

    /// Hits that are not among the [`calls`](Self::calls), though counting was on; those of probes that follow blocks in any case.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn others(&self) -> Result<u64, MapError> {
        let tallies = self.tallies()?;
        Ok([Tally::Delegated, Tally::Foreign, Tally::Followed].iter().map(|tally| tallies[*tally as usize]).sum())
    }

    /// The processes that the kernel side follows now.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn followed(&self) -> Result<Vec<u32>, MapError> {
        self.processes.keys().collect()
    }

    /// The calls that the function in `slot` counted.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn calls(&self, slot: u32) -> Result<Calls, MapError> {
        let mut sum = Calls::default();
        for class in self.counters.get(&slot, 0)?.iter().flat_map(|cpu| &cpu.0.classes) {
            sum.calls += class.calls;
            sum.bytes = sum.bytes.wrapping_add(class.bytes);
        }
        Ok(sum)
    }

    fn tallies(&self) -> Result<Tallies, MapError> {
        let mut sums = Tallies::default();
        for cpu in self.tallies.get(&0, 0)?.iter() {
            for (sum, of_cpu) in sums.iter_mut().zip(cpu) {
                *sum += of_cpu;
            }
        }
        Ok(sums)
    }
}
