//! From the ring buffer to a recording: decode, intern, assemble. [`session`] is the loop that drives it.

pub mod decode;
pub mod interval;
pub mod processes;
pub mod samples;
pub mod stacks;
