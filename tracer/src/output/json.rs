//! JSON for scripts; docs/json.md says what is in it.

mod live;
mod measure;
mod tree;

use std::io::{self, Write};

use serde::Serialize;
use serde::ser::Serializer;

pub(super) use self::measure::{Counted, Rate, Shown};
use self::tree::{Names, Nodes};
use super::quantity::significant;
use crate::estimate::epochs::{Slowdown, Unbounded};
use crate::estimate::{Calibration, Interval, Totals};
use crate::profile::regions::{RegionRow, Regions};
use crate::profile::{Profile, Row};
use crate::recording::{About, Recording, about::Source};

/// Writes the document, ending in a line feed.
pub fn write(recording: &Recording, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    let intervals = || recording.samples.iter().map(|sample| sample.interval);
    let unattributed = profile.allocated.unattributed();
    let document = Document {
        format: "tracer-profile",
        version: 1,
        source: profile.source,
        about: &recording.about,
        samples: recording.samples.len(),
        interval_min: intervals().min().unwrap_or(0),
        interval_max: intervals().max().unwrap_or(0),
        totals: kind_of_totals(&profile.allocated),
        at_least_because: at_least_because(&profile.allocated),
        windows: Windows::new(&recording.about, &profile.allocated),
        exact: profile.allocated.exact().map(|exact| Counted::new(profile.source, exact)),
        unattributed: Counted::new(profile.source, unattributed),
        view: profile.view.name(),
        total: Shown::everything(profile),
        regions: profile.regions.as_ref().map(|regions| region_lines(recording, profile, regions)),
        sites: Rows { profile, rows: &profile.sites },
        functions: Rows { profile, rows: &profile.functions },
        live: profile.live.as_ref().map(|heap| live::Live::new(recording, profile, heap)),
        split: profile.split.map(|split| split.to_string()),
        parts: profile.split.map(|_| Parts(profile)),
        names: Names(profile),
        tree: Nodes::new(profile),
    };
    let mut out = io::BufWriter::new(out);
    serde_json::to_writer(&mut out, &document)?;
    writeln!(out)?;
    out.flush()
}

/// What can be said of sums.
pub(super) fn kind_of_totals(calibration: &Calibration) -> &'static str {
    match calibration.totals() {
        Totals::Exact(_) => "exact",
        Totals::Estimated { .. } => "estimated",
        Totals::AtLeast { .. } => "at-least",
    }
}

fn at_least_because(calibration: &Calibration) -> Option<&'static str> {
    let Totals::AtLeast { because, .. } = calibration.totals() else { return None };
    Some(match because {
        Unbounded::Slowed(_) => "slowed",
        Unbounded::CostUnknown => "cost-unknown",
        Unbounded::Unseen => "unseen",
    })
}

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    version: u32,
    source: Source,
    about: &'a About,
    samples: usize,
    interval_min: u64,
    interval_max: u64,
    totals: &'static str,
    at_least_because: Option<&'static str>,
    windows: Option<Windows>,
    exact: Option<Counted>,
    unattributed: Counted,
    view: &'static str,
    total: Shown,
    regions: Option<Vec<RegionLine<'a>>>,
    sites: Rows<'a>,
    functions: Rows<'a>,
    live: Option<live::Live<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Parts<'a>>,
    names: Names<'a>,
    tree: Nodes<'a>,
}

/// What calls were counted in, if not all the time.
#[derive(Serialize)]
struct Windows {
    number: usize,
    share_of_time: f64,
    slowdown: Rate,
}

impl Windows {
    fn new(about: &About, calibration: &Calibration) -> Option<Self> {
        let Slowdown { times, range } = calibration.slowdown()?;
        let (number, share) = super::shown::seen(&about.epochs);
        let range = Interval { low: range.low.min(times), high: range.high.max(times) };
        Some(Self { number, share_of_time: significant(share), slowdown: Rate::new(times, range, true) })
    }
}

/// A region and its rates.
#[derive(Serialize)]
pub(super) struct RegionLine<'a> {
    region: &'a str,
    #[serde(flatten)]
    measure: Shown,
    #[serde(flatten)]
    rates: Rates,
    mean_size: Option<f64>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Rates {
    Memory { bytes_per_second: Option<Rate>, objects_per_second: Option<Rate> },
    Time { nanoseconds_per_second: Rate },
}

pub(super) fn region_lines<'a>(recording: &Recording, profile: &Profile, regions: &'a Regions) -> Vec<RegionLine<'a>> {
    let bounded = !matches!(profile.totals(), Totals::AtLeast { .. });
    let rate = |value: f64, interval: Interval| {
        Rate::new(value / recording.seconds(), interval.per(recording.seconds()), bounded)
    };
    let has_rate = profile.view.has_rate();
    let line = |row: &RegionRow| {
        let total = &row.total;
        let (bytes, objects) = (total.bytes.value, total.objects.value);
        RegionLine {
            region: regions.name(row.region),
            measure: Shown::new(profile, total),
            rates: match profile.source {
                Source::Cpu => Rates::Time { nanoseconds_per_second: rate(bytes, profile.bytes_interval(total)) },
                _ => Rates::Memory {
                    bytes_per_second: has_rate.then(|| rate(bytes, profile.bytes_interval(total))),
                    objects_per_second: has_rate.then(|| rate(objects, profile.objects_interval(total))),
                },
            },
            mean_size: (objects > 0.0 && profile.source != Source::Cpu).then(|| significant(bytes / objects)),
        }
    };
    regions.rows.iter().map(line).collect()
}

pub(super) struct Rows<'a> {
    pub(super) profile: &'a Profile,
    pub(super) rows: &'a [Row],
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            function: &'a str,
            #[serde(flatten)]
            measure: Shown,
        }
        serializer.collect_seq(self.rows.iter().map(|row| Line {
            function: self.profile.names.text(row.name),
            measure: Shown::new(self.profile, &row.total),
        }))
    }
}

struct Parts<'a>(&'a Profile);

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            part: &'a str,
            #[serde(flatten)]
            measure: Shown,
        }
        let Self(profile) = self;
        serializer.collect_seq(
            profile
                .parts
                .iter()
                .map(|row| Line { part: profile.names.text(row.name), measure: Shown::new(profile, &row.total) }),
        )
    }
}
