//! What people and programs get to see: one file a format. Formats write to the writer they are given; only
//! [`destination`] and [`staged`] know of files.

mod amount;
pub mod destination;
pub mod difference;
pub mod folded;
pub mod join;
pub mod json;
pub mod quantity;
mod regions;
pub mod report;
pub mod shown;
pub mod staged;
pub mod svg;
pub mod text;

use std::io::{self, Write};

use crate::profile::Profile;
use crate::recording::{Recording, pprof};
pub use destination::{Destination, Output, Owner, Written};

/// A format of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Flame graph, for a browser.
    Svg,
    /// The recording itself, for tracer and for `go tool pprof`; the same for every view.
    Pprof,
    /// `stack bytes` (nanoseconds of CPU time), a line for each stack, for scripts and other viewers.
    Folded,
    /// Totals, tables and call tree, for scripts.
    Json,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Svg, Self::Pprof, Self::Folded, Self::Json];

    /// How the names of its files end.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Svg => ".svg",
            Self::Pprof => ".pb.gz",
            Self::Folded => ".folded",
            Self::Json => ".json",
        }
    }

    /// Writes a recording in this format. `profile` is the recording's.
    pub fn write(self, recording: &Recording, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Svg => svg::write(recording, profile, svg::Options::default(), out),
            Self::Pprof => pprof::write(recording, &profile.allocated, out),
            Self::Folded => folded::write(profile, out),
            Self::Json => json::write(recording, profile, out),
        }
    }
}

/// Writes a recording to each output. `profile` is the recording's. An output either becomes complete or leaves no
/// file.
///
/// # Errors
/// The first output that cannot be written. Those before it are there.
pub fn render(
    recording: &Recording,
    profile: &Profile,
    outputs: Vec<Output>,
) -> Result<Vec<Written>, destination::Error> {
    let write = |mut output: Output| {
        let format = output.format();
        output.fill(|out| format.write(recording, profile, out))?;
        output.commit()
    };
    outputs.into_iter().map(write).collect()
}

#[cfg(test)]
mod golden_tests;
