//! Records, maps and limits that both worlds share, one subject a file.

pub mod allocation;
pub mod exponential;
pub mod live;
pub mod process;
pub mod sample;
pub mod settings;
pub mod tally;
pub mod unwind;
