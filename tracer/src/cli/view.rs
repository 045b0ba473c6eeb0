//! Which blocks to show: options of every verb that makes outputs.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::profile::{Options, View};

/// The options.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Which blocks to show: all that were allocated, those in use at the end, those in use when most was, or those that
    /// their thread released at once. All but the first need a recording with --live, where in-use is the default
    #[arg(long, value_name = "VIEW", value_parser = view())]
    view: Option<View>,
    /// How long a temporary block lives at most; 1ms if nothing is said
    #[arg(long, value_name = "TIME", value_parser = time)]
    temporary_within: Option<Duration>,
    /// Time between snapshots of what was in use, such as 10s; without it there are 20 to 50. At most 1,000 are made
    #[arg(long, value_name = "TIME", value_parser = time)]
    snapshot_every: Option<Duration>,
}

impl Args {
    /// Adds their meaning to other options.
    pub fn resolve(self, options: Options) -> Options {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Options {
            view: self.view,
            temporary_ns: self.temporary_within.map(nanoseconds),
            snapshot_every_ns: self.snapshot_every.map(nanoseconds),
            ..options
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
