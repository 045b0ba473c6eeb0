//! Why an address has no name: data, not an error.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::perf_map::PerfMapProblem;
use crate::target::module::Missing;

/// Why addresses of one module, or of one process's run-time code, have no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unresolved {
    /// The symbol table is complete, but no symbol covers the address.
    NoSymbol,
    /// The file is stripped: only exported functions have names.
    Stripped,
    /// The file is not there to be read.
    File(Missing),
    /// Reading the file failed.
    Reading(Failure),
    /// No usable perf map.
    PerfMap(PerfMapProblem),
    /// The perf map has no entry for the address.
    NotInPerfMap,
}

/// How reading a file's symbols or debug information failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Failure {
    /// The contents make no sense.
    Malformed,
    /// More than the memory set aside for it.
    TooLarge,
    /// The confined reader was ended by the kernel: its stack or memory ran out.
    Crashed,
    /// It took longer than it may.
    TimedOut,
    /// No process could be started for it, or nothing could be read back from it.
    NotStarted,
}

impl Unresolved {
    /// What the user can do about it; empty where nothing is known.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Stripped => "install the debug symbols of this file, or build it without `strip`",
            Self::File(Missing::Replaced | Missing::Changed) => "restart the process to run the present file",
            Self::File(Missing::Unreadable) => "run tracer with sudo",
            Self::File(Missing::TooMany) => "raise the limit of open files with `ulimit -n`",
            Self::PerfMap(problem) => problem.hint(),
            Self::NotInPerfMap
            | Self::NoSymbol
            | Self::File(Missing::TooLarge | Missing::Elf(_))
            | Self::Reading(_) => "",
        }
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSymbol => f.write_str("no symbol covers the address"),
            Self::Stripped => f.write_str("the file is stripped"),
            Self::File(missing) => missing.fmt(f),
            Self::Reading(failure) => write!(f, "reading its symbols failed: {failure}"),
            Self::PerfMap(problem) => problem.fmt(f),
            Self::NotInPerfMap => f.write_str("the perf map has no entry for the address"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too large",
            Self::Crashed => "the reader ran out of stack or memory",
            Self::TimedOut => "the reader ran out of time",
            Self::NotStarted => "the reader could not be started",
        })
    }
}
