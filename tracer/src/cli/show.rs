//! What to show of a recording: options of every verb that makes outputs.

use super::{regions, view};
use crate::profile::{Options, Split};

/// The options.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Tell processes or threads apart, each under a frame of its own, in all outputs but the recording
    #[arg(long, value_name = "BY")]
    split: Option<SplitBy>,
    #[command(flatten)]
    regions: regions::Args,
    #[command(flatten)]
    view: view::Args,
}

/// What `--split` tells apart.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SplitBy {
    /// A frame for each process
    Process,
    /// A frame for each thread
    Thread,
}

impl Args {
    /// Gives the arguments their meaning.
    ///
    /// # Errors
    /// Wrong rules of regions.
    pub fn resolve(self) -> anyhow::Result<Options> {
        let split = self.split.map(|by| match by {
            SplitBy::Process => Split::Process,
            SplitBy::Thread => Split::Thread,
        });
        Ok(self.view.resolve(Options { split, rules: self.regions.resolve()?, ..Options::default() }))
    }
}
