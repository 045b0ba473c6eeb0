//! `tracer report`: a recording on a terminal, with its course.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use super::{Outcome, recorded, regions};
use crate::{
    output::report::Report,
    profile::{Options, Profile, View, timeline::Timeline},
};

/// Arguments of `tracer report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The recording: a .pb.gz file that tracer wrote
    recording: PathBuf,
    /// Write JSON, whose form is stable, instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    regions: regions::Args,
}

/// What to report.
#[derive(Debug)]
pub struct Settings {
    /// The recording.
    pub recording: PathBuf,
    /// Whether as JSON.
    pub json: bool,
    /// The regions to show.
    pub show: Options,
}

impl Args {
    /// Gives the arguments their meaning.
    ///
    /// # Errors
    /// Wrong rules of regions.
    pub fn resolve(self) -> anyhow::Result<Settings> {
        let Self { recording, json, regions } = self;
        // Rates are of what is allocated, whatever became of it.
        let view = Some(View::Allocated);
        Ok(Settings { recording, json, show: Options { rules: regions.resolve()?, view, ..Options::default() } })
    }
}

/// Reads the recording and writes the report to stdout.
///
/// # Errors
/// A recording that cannot be read.
pub fn run(settings: &Settings) -> anyhow::Result<Outcome> {
    let recording = recorded::read(&settings.recording)?;
    let profile = Profile::with_options(&recording, &settings.show);
    let timeline = Timeline::new(&recording, profile.regions.as_ref());
    let report = Report { recording: &recording, profile: &profile, timeline: &timeline };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = if settings.json { report.write_json(&mut out) } else { report.write_text(&mut out) };
    match written.and_then(|()| out.flush()) {
        // A reader that has gone has what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Outcome::Done),
    }
}
