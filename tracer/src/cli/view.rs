//! What `record` and `render` make of a recording: the same options for both.

use std::time::Duration;

use anyhow::bail;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::profile::{Options, View};

/// Options of what is shown.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct ViewArgs {
    /// Which blocks to show: all that were allocated, those in use at the end, those in use when most was, or those that
    /// their thread released at once. All but the first need a recording with --live, where in-use is the default
    #[arg(long, value_name = "VIEW", value_parser = view())]
    view: Option<View>,
    /// How long a temporary block lives at most
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = time)]
    temporary_within: Duration,
    /// Time between snapshots of what was in use, such as 10s; without it there are 20 to 50. At most 1,000 are made
    #[arg(long, value_name = "TIME", value_parser = time)]
    snapshot_every: Option<Duration>,
}

impl ViewArgs {
    /// Gives the arguments their meaning, for a recording that follows releases or not.
    ///
    /// # Errors
    /// The recording will not have this view.
    pub fn for_recording(self, live: bool) -> anyhow::Result<Options> {
        let options = self.resolve();
        match options.view {
            Some(view) if view != View::Allocated && !live => {
                bail!("the view {view} is of blocks whose release is followed: add --live, or leave --view out")
            }
            _ => Ok(options),
        }
    }

    /// Gives the arguments their meaning.
    pub fn resolve(self) -> Options {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Options {
            view: self.view,
            temporary_ns: nanoseconds(self.temporary_within),
            snapshot_every_ns: self.snapshot_every.map(nanoseconds),
        }
    }
}

fn view() -> impl TypedValueParser<Value = View> {
    PossibleValuesParser::new(View::ALL.map(View::name)).try_map(|name| name.parse::<View>())
}

fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("a time is a number and a unit, such as 100us, 1ms or 10s".to_owned()),
    }
}
