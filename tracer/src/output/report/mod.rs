//! The report on a recording: rates over time, sizes, regions and sites.

mod json;
pub mod sizes;
mod text;

use std::io::{self, Write};

use crate::profile::Profile;
use crate::profile::timeline::Timeline;
use crate::recording::Recording;

/// Everything that a report is made of.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The recording.
    pub recording: &'a Recording,
    /// Its profile, with regions if these are to be shown.
    pub profile: &'a Profile,
    /// Its course.
    pub timeline: &'a Timeline,
}

impl Report<'_> {
    /// Writes it for a terminal.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        text::write(self, out)
    }

    /// Writes the document of docs/json.md.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        json::write(self, out)
    }
}
