//! What is shown, in words and with its unit: bytes, or CPU time.

use super::quantity;
use crate::estimate::Interval;
use crate::recording::about::Source;

impl Source {
    /// What the picture shows.
    pub fn title(self) -> &'static str {
        match self {
            Self::Allocations => "Allocated bytes",
            Self::Cpu => "CPU time",
            Self::PageFaults => "Faulted bytes",
            Self::Mmap => "Mapped bytes",
            Self::Brk => "Growth of the program break",
        }
    }

    /// What the process did, in ten characters: the head of a line of the summary.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Allocations => "allocated",
            Self::Cpu => "on CPU   ",
            Self::PageFaults => "faulted  ",
            Self::Mmap => "mapped   ",
            Self::Brk => "grew by  ",
        }
    }

    /// What is counted.
    pub fn events(self) -> &'static str {
        match self {
            Self::Allocations | Self::Mmap | Self::Brk => "calls",
            Self::Cpu => "ticks",
            Self::PageFaults => "page faults",
        }
    }

    /// The same where there is one of each sampled block.
    pub fn objects(self) -> &'static str {
        match self {
            Self::Allocations => "objects",
            other => other.events(),
        }
    }

    /// What the table of sites shows.
    pub fn sites(self) -> &'static str {
        match self {
            Self::Allocations => "Allocation sites",
            Self::Cpu => "CPU time by site",
            Self::PageFaults => "Page faults by site",
            Self::Mmap | Self::Brk => "Growth by site",
        }
    }

    /// What a stack counts for in the table of sites.
    pub fn nearest(self) -> &'static str {
        match self {
            Self::Allocations => "nearest caller outside allocator and standard library",
            _ => "nearest function outside kernel, allocator and standard libraries",
        }
    }

    /// What happened where nothing was recorded.
    pub fn nothing(self) -> &'static str {
        match self {
            Self::Allocations => "allocated nothing",
            Self::Cpu => "was on no CPU at any tick",
            Self::PageFaults => "had no page fault",
            Self::Mmap => "mapped nothing",
            Self::Brk => "did not move its program break",
        }
    }

    /// The unit of whole numbers: in folded stacks, in JSON, in pprof.
    pub fn unit(self) -> &'static str {
        if self == Self::Cpu { "nanoseconds" } else { "bytes" }
    }

    /// An amount: `12.3 MiB`, `1.23 s`.
    pub fn amount(self, value: f64) -> String {
        if self == Self::Cpu { quantity::time(value.round() as u64) } else { quantity::bytes(value) }
    }

    /// A difference of amounts with half the width of its 95 % interval: `-1.12 ± 0.28 MiB`.
    pub fn change(self, value: f64, margin: f64) -> String {
        if self == Self::Cpu { quantity::time_change(value, margin) } else { quantity::bytes_change(value, margin) }
    }

    /// An amount with its 95 % interval.
    pub fn amount_within(self, value: f64, interval: Interval) -> String {
        if self == Self::Cpu {
            // Whole nanoseconds, the interval rounded outwards.
            let Interval { low, high } = interval;
            quantity::time_within(value.round() as u64, low.floor() as u64, high.ceil() as u64)
        } else {
            quantity::bytes_within(value, interval)
        }
    }
}
