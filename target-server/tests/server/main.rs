//! The binaries over loopback.

mod client;
mod command_line;
mod faults;
mod one_game;
mod process;
