//! JSON for scripts; docs/json.md says what is in it.

mod live;

use std::io::{self, Write};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::quantity::significant;
use crate::estimate::epochs::{Slowdown, Unbounded};
use crate::estimate::{Calibration, Exact, Interval, Measure, Totals};
use crate::profile::name::NameKind;
use crate::profile::regions::{RegionRow, Regions};
use crate::profile::{Node, Profile, Row};
use crate::recording::{About, Recording, about::Source};

/// Share of the bytes that a node needs.
const MIN_SHARE: f64 = 1e-4;

/// Writes the document, ending in a line feed.
pub fn write(recording: &Recording, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    let kept = kept_nodes(profile);
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
        tree: Nodes { profile, kept: &kept },
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

/// Nodes in the document: the index in it of each node, where it has one.
fn kept_nodes(profile: &Profile) -> Vec<Option<u32>> {
    let nodes = &profile.tree.nodes;
    let min = profile.total().bytes.value * MIN_SHARE;
    let mut kept: Vec<Option<u32>> = Vec::with_capacity(nodes.len());
    let mut next = 0;
    for (i, node) in nodes.iter().enumerate() {
        let parent_kept = i == 0 || kept[node.parent as usize].is_some();
        let keep = parent_kept && (i == 0 || node.total.bytes.value >= min);
        kept.push(keep.then_some(next));
        next += u32::from(keep);
    }
    kept
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

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Counted {
    Calls { calls: u64, bytes: u64 },
    Ticks { ticks: u64, nanoseconds: u64 },
}

impl Counted {
    pub(super) fn new(source: Source, Exact { calls, bytes }: Exact) -> Self {
        match source {
            Source::Cpu => Self::Ticks { ticks: calls, nanoseconds: bytes },
            _ => Self::Calls { calls, bytes },
        }
    }
}

/// A measure.
#[derive(Serialize)]
pub(super) struct Shown {
    samples: u64,
    share: f64,
    share_low: f64,
    share_high: f64,
    #[serde(flatten)]
    amount: Amount,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Amount {
    Memory { bytes: Bounded, objects: Bounded },
    Time { nanoseconds: Bounded },
}

impl Amount {
    fn new(source: Source, bytes: Bounded, objects: Bounded) -> Self {
        match source {
            Source::Cpu => Self::Time { nanoseconds: bytes },
            _ => Self::Memory { bytes, objects },
        }
    }
}

#[derive(Serialize)]
struct Bounded {
    value: u64,
    low: u64,
    high: Option<u64>,
}

impl Bounded {
    /// Rounded, the interval outwards. An infinite end is none.
    fn new(value: f64, interval: Interval) -> Self {
        let value = value.round() as u64;
        let (low, high) = (interval.low.floor() as u64, interval.high.ceil() as u64);
        Self { value, low: low.min(value), high: interval.high.is_finite().then_some(high.max(value)) }
    }

    fn exact(value: f64) -> Self {
        let value = value.round();
        Self::new(value, Interval { low: value, high: value })
    }

    fn at_least(self) -> Self {
        Self { high: None, ..self }
    }
}

impl Shown {
    fn new(profile: &Profile, measure: &Measure) -> Self {
        let bytes = Bounded::new(measure.bytes.value, profile.bytes_interval(measure));
        let objects = Bounded::new(measure.objects.value, profile.objects_interval(measure));
        let (share, interval) = (profile.share(measure), profile.share_interval(measure));
        let (bytes, objects) = match profile.totals() {
            Totals::AtLeast { .. } => (bytes.at_least(), objects.at_least()),
            _ => (bytes, objects),
        };
        let (share_low, share_high) = (interval.low.min(share), interval.high.max(share));
        let amount = Amount::new(profile.source, bytes, objects);
        Self { samples: measure.samples, share, share_low, share_high, amount }
    }

    /// What was counted but not sampled.
    fn unattributed(profile: &Profile, measure: &Measure) -> Self {
        let (bytes, objects) = (measure.bytes.value, measure.objects.value);
        let amount = Amount::new(profile.source, Bounded::exact(bytes), Bounded::exact(objects));
        Self { amount, ..Self::new(profile, measure) }
    }

    pub(super) fn everything(profile: &Profile) -> Self {
        let measure = profile.total();
        let share = if measure.bytes.value > 0.0 { 1.0 } else { 0.0 };
        let (bytes, objects) = match profile.totals() {
            Totals::Exact(_) => (Bounded::exact(measure.bytes.value), Bounded::exact(measure.objects.value)),
            Totals::Estimated { bytes, objects } => {
                (Bounded::new(bytes.value, bytes.interval), Bounded::new(objects.value, objects.interval))
            }
            Totals::AtLeast { bytes, objects, .. } => {
                (Bounded::exact(bytes).at_least(), Bounded::exact(objects).at_least())
            }
        };
        let amount = Amount::new(profile.source, bytes, objects);
        Self { samples: measure.samples, share, share_low: share, share_high: share, amount }
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

#[derive(Serialize)]
pub(super) struct Rate {
    value: f64,
    low: f64,
    high: Option<f64>,
}

impl Rate {
    pub(super) fn new(value: f64, Interval { low, high }: Interval, bounded: bool) -> Self {
        Self {
            value: significant(value),
            low: significant(low),
            high: (bounded && high.is_finite()).then_some(significant(high)),
        }
    }
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

struct Names<'a>(&'a Profile);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..self.0.names.len() as u32).map(|name| self.0.names.text(name)))
    }
}

struct Nodes<'a> {
    profile: &'a Profile,
    kept: &'a [Option<u32>],
}

impl Serialize for Nodes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nodes = self.profile.tree.nodes.iter().zip(self.kept).filter(|(_, kept)| kept.is_some());
        serializer.collect_seq(nodes.map(|(node, _)| TreeNode { of: self, node }))
    }
}

struct TreeNode<'a> {
    of: &'a Nodes<'a>,
    node: &'a Node,
}

impl Serialize for TreeNode<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { of: Nodes { profile, kept }, node } = self;
        let kind = node.frame.map(|frame| profile.names.kind(frame.name()));
        let shown = match kind {
            None => Shown::everything(profile),
            Some(NameKind::Unattributed) if profile.exact().is_some() => Shown::unattributed(profile, &node.total),
            Some(_) => Shown::new(profile, &node.total),
        };
        let mut map = serializer.serialize_map(None)?;
        let parent = node.frame.and_then(|_| kept.get(node.parent as usize).copied().flatten());
        map.serialize_entry("parent", &parent)?;
        map.serialize_entry("name", &node.frame.map(|frame| frame.name()))?;
        map.serialize_entry("inlined", &node.frame.is_some_and(|frame| frame.inlined()))?;
        map.serialize_entry(
            "kind",
            match kind {
                None | Some(NameKind::Function) => "function",
                Some(NameKind::Truncated) => "truncated",
                Some(NameKind::Unattributed) => "unattributed",
                Some(NameKind::Part) => "part",
            },
        )?;
        map.serialize_entry("samples", &shown.samples)?;
        map.serialize_entry("share", &shown.share)?;
        map.serialize_entry("share_low", &shown.share_low)?;
        map.serialize_entry("share_high", &shown.share_high)?;
        match &shown.amount {
            Amount::Memory { bytes, objects } => {
                map.serialize_entry("bytes", bytes)?;
                map.serialize_entry("objects", objects)?;
            }
            Amount::Time { nanoseconds } => map.serialize_entry("nanoseconds", nanoseconds)?,
        }
        map.end()
    }
}
