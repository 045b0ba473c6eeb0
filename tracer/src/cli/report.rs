//! `tracer report`: a recording on a terminal, with its course.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use super::{Outcome, recorded, regions};
use crate::{
    output::{self, report::Report},
    profile::{
        Options, Profile, View,
        join::{Join, Side},
        timeline::Timeline,
    },
};

/// Arguments of `tracer report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The recording: a .pb.gz file that tracer wrote
    recording: PathBuf,
    /// A recording of the same program's allocations, where this one is of CPU time: shows both side by side, for each function and
    /// region, and how much of the time goes to the allocator. With --json, only that
    #[arg(long, value_name = "RECORDING")]
    with: Option<PathBuf>,
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
    /// Allocations to show CPU time beside.
    pub with: Option<PathBuf>,
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
        let Self { recording, with, json, regions } = self;
        // Rates are of what is allocated, whatever became of it.
        let view = Some(View::Allocated);
        Ok(Settings { recording, with, json, show: Options { rules: regions.resolve()?, view, ..Options::default() } })
    }
}

/// Reads the recording and writes the report to stdout.
///
/// # Errors
/// A recording that cannot be read, or two that cannot be shown side by side.
pub fn run(settings: &Settings) -> anyhow::Result<Outcome> {
    let recording = recorded::read(&settings.recording)?;
    let profile = Profile::with_options(&recording, &settings.show);
    let timeline = Timeline::new(&recording, profile.regions.as_ref());
    let report = Report { recording: &recording, profile: &profile, timeline: &timeline };
    let allocations = settings.with.as_deref().map(recorded::read).transpose()?;
    let beside = allocations.map(|recording| (Profile::with_options(&recording, &settings.show), recording));
    let join = match &beside {
        None => None,
        Some((profile_of, allocations)) => Some(Join::new(
            Side { recording: &recording, profile: &profile },
            Side { recording: allocations, profile: profile_of },
        )?),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = match (&join, &beside, settings.json) {
        (Some(join), Some((_, allocations)), true) => output::join::json(join, &recording, allocations, &mut out),
        (Some(join), _, _) => report.write_text(&mut out).and_then(|()| output::join::text(join, &mut out)),
        (None, _, true) => report.write_json(&mut out),
        (None, _, false) => report.write_text(&mut out),
    };
    match written.and_then(|()| out.flush()) {
        // A reader that has gone has what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Outcome::Done),
    }
}
