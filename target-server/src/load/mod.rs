//! The load client: so many games at once, each with two players that fire at a steady beat, and a new game for each that
//! ends.

pub mod cli;
mod latency;
mod player;
mod run;
mod server_log;
mod totals;

pub use latency::Latency;
pub use run::{RunError, run};
pub use server_log::{LogError, ServerLog, ServerTicks};
pub use totals::Totals;
