//! A difference between two recordings, for people and programs.

mod folded;
mod json;
mod text;

use std::io::{self, Write};

use super::{Format, quantity, svg};
use crate::estimate::Interval;
use crate::estimate::compare::{Difference, Rate};
use crate::profile::difference::{self, Chance, Scale};
use crate::recording::{Recording, about::Source};

/// What amounts are divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Per {
    /// The seconds of each recording.
    Second,
    /// Units of work, so many in each recording.
    Unit([f64; 2]),
    /// Everything that each recording allocated: shares.
    All,
}

impl Per {
    /// How the amounts of two recordings are divided.
    pub fn scales(self, recordings: [&Recording; 2]) -> [Scale; 2] {
        match self {
            Self::Second => recordings.map(|recording| Scale::Per(recording.seconds())),
            Self::Unit(units) => units.map(Scale::Per),
            Self::All => [Scale::Share; 2],
        }
    }

    /// Behind an amount: `/s`.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Second => "/s",
            Self::Unit(_) => " a unit",
            Self::All => "",
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
    pub difference: &'a difference::Difference,
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

    /// An amount with its interval: `9.10 ± 0.20 MiB`, `12.3 ± 0.8 %`.
    pub fn amount(&self, rate: Rate) -> String {
        let margin = rate.margin();
        let interval = Interval { low: (rate.value - margin).max(0.0), high: rate.value + margin };
        match self.per {
            Per::All => quantity::percent_within(
                rate.value,
                Interval { high: interval.high.min(1.0).max(rate.value), ..interval },
            ),
            Per::Second | Per::Unit(_) => self.source().amount_within(rate.value, interval),
        }
    }

    /// A difference with its interval: `-1.12 ± 0.28 MiB`.
    pub fn change(&self, difference: Difference) -> String {
        match self.per {
            Per::All => quantity::percent_change(difference.value, difference.margin),
            Per::Second | Per::Unit(_) => self.source().change(difference.value, difference.margin),
        }
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
            Format::Folded => folded::write(self.difference, self.per, out),
            Format::Json => self.write_json(out),
            Format::Pprof => Err(io::Error::new(io::ErrorKind::Unsupported, "a difference is no recording")),
        }
    }
}
