//! tracer: where does a running process allocate memory?
//!
//! The stages, in the order in which data flows: [`target`] (what is this process), [`allocators`] (which functions to
//! probe), [`unwind`] (tables for the walk in the kernel), [`probe`] (load and attach), [`record`] (ring buffer to samples),
//! [`symbolize`] (addresses to names), [`recording`] (the file a run leaves), [`estimate`] and [`profile`] (numbers),
//! [`output`] (pictures and text); [`doctor`] says beforehand what is to be expected of them. Everything after a [`recording::Recording`] is pure.

pub mod allocators;
pub mod cli;
pub mod doctor;
pub mod estimate;
pub mod output;
pub mod probe;
pub mod profile;
pub mod record;
pub mod recording;
pub mod symbolize;
pub mod target;
pub mod unwind;

#[cfg(test)]
extern crate self as tracer;
#[cfg(test)]
#[path = "../tests/synthetic/mod.rs"]
mod synthetic;
