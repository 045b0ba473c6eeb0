//! From the ring buffer to a recording: decode, intern, assemble. [`session`] is the loop that drives it.

pub mod assemble;
pub mod attached;
pub mod budget;
pub mod child;
pub mod cost;
pub mod cpu;
pub mod decode;
pub mod discover;
pub mod error;
pub mod interval;
pub mod late;
pub mod launch;
pub mod links;
pub mod live;
pub mod loader;
mod numbered;
pub mod processes;
pub mod raw;
pub mod request;
pub mod resident;
pub mod samples;
pub mod search;
mod searched;
pub mod session;
pub mod stacks;
pub mod thin;
pub mod windows;
