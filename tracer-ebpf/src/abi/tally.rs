//! What happens in the allocation program besides counting: what a recording cost is made up of it.

/// The sums of one CPU, by [`Tally`]: the entry of the map `TALLIES`.
pub type Tallies = [u64; 5];

/// Index into [`Tallies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// Hits while counting was off: probes came or went.
    Closed = 0,
    /// Hits of calls that are counted by the function they are handed on to.
    Delegated = 1,
    /// Hits in processes that are not traced.
    Foreign = 2,
    /// Nanoseconds spent on stacks and records of sampled hits.
    SamplingNs = 3,
    /// Hits of the probes that follow blocks: releases, and ends of calls.
    Followed = 4,
}
