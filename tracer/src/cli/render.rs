//! `tracer render`: a recording to other formats.

use std::path::PathBuf;

use super::{Outcome, owner, recorded, regions};
use crate::output::{self, Destination, Output};
use crate::profile::{Profile, Rules};

/// Arguments of `tracer render`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The recording: a .pb.gz file that tracer wrote
    recording: PathBuf,
    /// A file to write; its ending names the format: .svg, .pb.gz, .folded or .json. `-` writes folded stacks to
    /// stdout. May be given more than once
    #[arg(short, long, value_name = "FILE", required = true, value_parser = super::destination())]
    output: Vec<Destination>,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    regions: regions::Args,
}

/// What to render.
#[derive(Debug)]
pub struct Settings {
    /// The recording.
    pub recording: PathBuf,
    /// Where to.
    pub outputs: Vec<Destination>,
    /// Whether existing files may be replaced.
    pub force: bool,
    /// The parts to show.
    pub rules: Rules,
}

impl Args {
    /// Gives the arguments their meaning.
    ///
    /// # Errors
    /// Wrong rules of regions.
    pub fn resolve(self) -> anyhow::Result<Settings> {
        let Self { recording, output, force, regions } = self;
        Ok(Settings { recording, outputs: output, force, rules: regions.resolve()? })
    }
}

/// Reads the recording and writes the outputs.
///
/// # Errors
/// A recording that cannot be read, or an output that cannot be written. All outputs are opened before the recording is
/// read.
pub fn run(settings: Settings) -> anyhow::Result<Outcome> {
    let Settings { recording: path, outputs, force, rules } = settings;
    let owner = owner::from_sudo();
    let open = |output: Destination| output.open(force, owner);
    let outputs: Vec<Output> = outputs.into_iter().map(open).collect::<Result<_, _>>()?;
    let recording = recorded::read(&path)?;
    for written in output::render(&recording, &Profile::with_regions(&recording, &rules), outputs)? {
        if let Some(path) = written.destination.path() {
            eprintln!("wrote {}", path.display());
            if let Some(error) = written.not_owned {
                eprintln!("note: {} stays root's: {error}", path.display());
            }
        }
    }
    Ok(Outcome::Done)
}
