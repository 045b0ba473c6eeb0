//! The binaries over loopback.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod client;
mod command_line;
mod faults;
mod hold;
mod info_log;
mod load;
mod one_game;
mod process;
