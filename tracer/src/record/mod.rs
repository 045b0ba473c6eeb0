//! From the ring buffer to a recording: decode, intern, assemble. [`session`] is the loop that drives it.

pub mod assemble;
pub mod attached;
mod by_hand;
pub mod child;
pub mod cpu;
pub mod decode;
pub mod discover;
pub mod error;
pub mod interval;
pub mod late;
pub mod launch;
pub mod loader;
pub mod processes;
pub mod raw;
pub mod request;
pub mod samples;
pub mod search;
pub mod session;
pub mod stacks;
