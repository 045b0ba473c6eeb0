//! `tracer render`: a recording to other formats.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::Context;

use super::{Outcome, owner, view::ViewArgs};
use crate::output::{self, Destination, Output};
use crate::profile::{Options, Profile};
use crate::recording::pprof;

/// Arguments of `tracer render`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The recording: a .pb.gz file that tracer wrote
    recording: PathBuf,
    /// A file to write; its ending names the format: .svg, .pb.gz, .folded or .json. `-` writes folded stacks to
    /// stdout. May be given more than once
    #[arg(short, long, value_name = "FILE", required = true, value_parser = super::destination())]
    output: Vec<Destination>,
    #[command(flatten)]
    view: ViewArgs,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
}

/// What to render.
#[derive(Debug)]
pub struct Settings {
    /// The recording.
    pub recording: PathBuf,
    /// Where to.
    pub outputs: Vec<Destination>,
    /// What to show.
    pub view: Options,
    /// Whether existing files may be replaced.
    pub force: bool,
}

impl Args {
    /// Gives the arguments their meaning.
    pub fn resolve(self) -> Settings {
        let Self { recording, output, view, force } = self;
        Settings { recording, outputs: output, view: view.resolve(), force }
    }
}

/// Reads the recording and writes the outputs.
///
/// # Errors
/// A recording that cannot be read, or an output that cannot be written. All outputs are opened before the recording is
/// read.
pub fn run(settings: Settings) -> anyhow::Result<Outcome> {
    let Settings { recording: path, outputs, view, force } = settings;
    let owner = owner::from_sudo();
    let open = |output: Destination| output.open(force, owner);
    let outputs: Vec<Output> = outputs.into_iter().map(open).collect::<Result<_, _>>()?;
    let read =
        || -> anyhow::Result<_> { Ok(pprof::read(BufReader::new(File::open(&path)?), &pprof::Limits::default())?) };
    let recording = read().with_context(|| format!("cannot read the recording {}", path.display()))?;
    let profile = Profile::with_options(&recording, &view)?;
    for written in output::render(&recording, &profile, outputs)? {
        if let Some(path) = written.destination.path() {
            eprintln!("wrote {}", path.display());
            if let Some(error) = written.not_owned {
                eprintln!("note: {} stays root's: {error}", path.display());
            }
        }
    }
    Ok(Outcome::Done)
}
