//! A difference between two recordings, for people and programs.

mod folded;
mod json;
mod text;

use std::io::{self, Write};

use super::{Format, svg};
use crate::profile::difference::{Chance, Difference};
use crate::recording::{Recording, about::Source};
pub use text::rate;

/// What amounts are divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Per {
    /// The seconds of each recording.
    Second,
    /// Units of work, so many in each recording.
    Unit([f64; 2]),
}

impl Per {
    /// Behind an amount: `/s`.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Second => "/s",
            Self::Unit(_) => " a unit",
        }
    }
}

/// Two recordings and what differs between them.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    /// How the recordings are called, before and after.
    pub names: [&'a str; 2],
    /// The recordings.
    pub recordings: [&'a Recording; 2],
    /// What differs.
    pub difference: &'a Difference,
    /// What its amounts are divided by.
    pub per: Per,
    /// What its verdicts take for chance.
    pub chance: Chance,
}

impl Compared<'_> {
    /// What was sampled; the same in both.
    pub fn source(&self) -> Source {
        self.recordings[0].about.source
    }

    /// Writes the summary.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        text::write(self, out)
    }

    /// Writes the document of docs/json.md.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        json::write(self, out)
    }

    /// Writes it in a format. A difference is no recording: of [`Format::Pprof`] there is nothing to be written.
    pub fn write(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Svg => svg::write_difference(self, svg::Options::default(), out),
            Format::Folded => folded::write(self.difference, out),
            Format::Json => self.write_json(out),
            Format::Pprof => Err(io::Error::new(io::ErrorKind::Unsupported, "a difference is no recording")),
        }
    }
}
