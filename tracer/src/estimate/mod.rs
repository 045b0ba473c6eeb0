//! From samples to numbers with error bars. Pure mathematics: no I/O, no kernel.
//!
//! # The sampling design
//!
//! Sample points lie on the line of all allocated bytes as a Poisson process with mean distance R, the *interval*. An
//! allocation of S bytes is sampled when at least one point falls into it, with probability p = 1 - e^(-S/R), and,
//! since the process has no memory, independently of every other allocation. Survey statistics calls this *Poisson
//! sampling*; [`inclusion`] has p and the weights.
//!
//! # The estimators
//!
//! 1. Horvitz and Thompson (1952): every sample stands for S/p bytes and 1/p objects. Unbiased for every stack,
//!    whatever the sizes. Each sample is weighted *before* anything is added up: to weigh a sum by its mean size is
//!    biased (jemalloc, `doc_internal/PROFILING_INTERNALS.md`).
//! 2. Post-stratification to the exact counters: every call passes the probe, so calls and bytes of every size class
//!    are known exactly, and the samples of a class are scaled to them ([`strata`], [`calibration`]). The totals of the
//!    picture are then exact, and what is left to chance is how they divide.
//!
//! # Windows
//!
//! Where probes were in for one window of each epoch only, the above holds for the windows; [`epochs`] says what each of
//! them stands for, [`between`] how much they differ, [`placement`] where they must lie for it to be unbiased. Counts are
//! exact for the windows then, and estimates, or lower bounds, for the whole ([`totals`]).
//!
//! # Intervals
//!
//! Variances are sums over samples and windows, so that every node of a tree can have one; [`interval`] makes 95 % intervals of
//! them that hold from no sample at all to millions, and [`unseen`] has what numbers of objects need besides. [`compare`] has shares and differences; a difference between two
//! recordings also has to do with chance in the program itself ([`slices`]), and many of them are many chances to be
//! wrong ([`family`]).
//!
//! # CPU time
//!
//! Ticks are equal: each stands for its period, and a group's number of them is a Poisson variable at most. Where the kernel's
//! account of the processes' CPU time is there, ticks are scaled to it like samples of one size class to their counter: the total
//! is exact, and a part of it has the variance of the binomial distribution.
//!
//! # Lost samples
//!
//! A sample that found the ring buffer full is counted but gone. With n samples kept of n + l, each allocation's
//! probability is p n / (n + l): samples are taken to be lost at random. Post-stratification does not need that between
//! classes, since each class is scaled to its own exact total; within a class it still does. Losses come in bursts, and
//! a site that allocates only in bursts is then underestimated at its neighbours' gain: no interval shows that, which
//! is why losses are printed. (Without exact counters, intervals of large parts are wider than they need be: that the
//! total number of samples is known is not made use of.)

pub mod band;
pub mod between;
pub mod calibration;
mod chain;
pub mod compare;
pub mod epochs;
pub mod excess;
pub mod family;
pub mod followed;
pub mod growth;
pub mod inclusion;
pub mod interval;
pub mod measure;
pub mod parts;
pub mod placement;
pub mod quantile;
mod selection;
pub mod slices;
pub mod strata;
pub mod student;
pub mod survival;
pub mod thinning;
pub mod totals;
pub mod unseen;

#[cfg(test)]
mod coverage_tests;
#[cfg(test)]
mod object_tests;
#[cfg(test)]
mod window_tests;

pub use calibration::Calibration;
pub use interval::Interval;
pub use measure::{Estimate, Exact, Measure};
pub use totals::{Bounded, Totals};
