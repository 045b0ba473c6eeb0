//! `tracer render`: a recording to other formats.

use std::path::PathBuf;

use super::{Outcome, owner, recorded, show};
use crate::output::{self, Destination, Output};
use crate::profile::{Options, Profile};

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
    show: show::Args,
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
    pub show: Options,
    /// Whether existing files may be replaced.
    pub force: bool,
}

impl Args {
    /// Gives the arguments their meaning.
    ///
    /// # Errors
    /// Wrong rules of regions.
    pub fn resolve(self) -> anyhow::Result<Settings> {
        let Self { recording, output, show, force } = self;
        Ok(Settings { recording, outputs: output, show: show.resolve()?, force })
    }
}

/// Reads the recording and writes the outputs.
///
/// # Errors
/// A recording that cannot be read, or an output that cannot be written. All outputs are opened before the recording is
/// read.
pub fn run(settings: Settings) -> anyhow::Result<Outcome> {
    let Settings { recording: path, outputs, show, force } = settings;
    let owner = owner::from_sudo();
    let open = |output: Destination| output.open(force, owner);
    let outputs: Vec<Output> = outputs.into_iter().map(open).collect::<Result<_, _>>()?;
    let recording = recorded::read(&path)?;
    show.view_of(&recording)?;
    for written in output::render(&recording, &Profile::with_options(&recording, &show), outputs)? {
        if let Some(path) = written.destination.path() {
            eprintln!("wrote {}", path.display());
            if let Some(error) = written.not_owned {
                eprintln!("note: {} stays root's: {error}", path.display());
            }
        }
    }
    Ok(Outcome::Done)
}
