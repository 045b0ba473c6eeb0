//! JSON for scripts.
//!
//! ```text
//! format     "tracer-profile"
//! version    1; fields may be added, none is taken away or changes its meaning without a new version
//! source     what was sampled: "allocations", "cpu", "page-faults", "mmap" or "brk"
//! about      the recording without its samples: process, times, exact counters, losses, stacks (see `recording::about`)
//! samples    number of samples; interval_min, interval_max: bytes between them (0: every call is sampled)
//! exact      {calls, bytes} counted on every call, or null where nothing was counted; of CPU time {ticks, nanoseconds}: the kernel's account of it
//! unattributed  of `exact` what no sample speaks for, alike
//! total      everything, as a measure
//! regions    the parts that rules divide it into, most bytes first, then "other", which no rule matches; null without
//!            rules: {region, ...measure, bytes_per_second, objects_per_second, mean_size}; the first two as
//!            {value, low, high}, mean_size in bytes, null where there is no object
//! sites      allocation sites, most bytes first: {function, ...measure}
//! functions  functions with all that was allocated below them, most bytes first: {function, ...measure}
//! split      "process" or "thread" where these are told apart, else absent
//! parts      processes or threads, most bytes first: {part, ...measure}; absent without split
//! names      names of the tree's frames
//! tree       nodes in pre-order: {parent, name, inlined, kind, ...measure}; parent indexes tree, name indexes names;
//!            both are null for the root; kind is "function", "truncated" or "unattributed", with split also "part"
//! ```
//!
//! A measure is `samples`, `share` (of all bytes), and `bytes` and `objects` as `{value, low, high}`: the estimate and
//! its 95 % interval. Of CPU time it is `nanoseconds` in place of `bytes`, and no `objects`: each sample is a tick, and intervals
//! are nanoseconds too. Exact values have equal ends. Nodes of less than 0.01 % of the bytes are left out; their callers
//! are there.

use std::io::{self, Write};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::estimate::{Exact, Interval, Measure};
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
    let unattributed = profile.calibration.unattributed();
    let document = Document {
        format: "tracer-profile",
        version: 1,
        source: profile.source,
        about: &recording.about,
        samples: recording.samples.len(),
        interval_min: intervals().min().unwrap_or(0),
        interval_max: intervals().max().unwrap_or(0),
        exact: profile.exact().map(|exact| Counted::new(profile.source, exact)),
        unattributed: Counted::new(profile.source, unattributed),
        total: Shown::new(profile, &profile.total(), profile.exact().is_some()),
        regions: profile.regions.as_ref().map(|regions| region_lines(recording, profile, regions)),
        sites: Rows { profile, rows: &profile.sites },
        functions: Rows { profile, rows: &profile.functions },
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
    exact: Option<Counted>,
    unattributed: Counted,
    total: Shown,
    regions: Option<Vec<RegionLine<'a>>>,
    sites: Rows<'a>,
    functions: Rows<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Parts<'a>>,
    names: Names<'a>,
    tree: Nodes<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Counted {
    Calls { calls: u64, bytes: u64 },
    Ticks { ticks: u64, nanoseconds: u64 },
}

impl Counted {
    fn new(source: Source, Exact { calls, bytes }: Exact) -> Self {
        match source {
            Source::Cpu => Self::Ticks { ticks: calls, nanoseconds: bytes },
            _ => Self::Calls { calls, bytes },
        }
    }
}

/// A measure.
#[derive(Serialize)]
struct Shown {
    samples: u64,
    share: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<Bounded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nanoseconds: Option<Bounded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    objects: Option<Bounded>,
}

#[derive(Serialize)]
struct Bounded {
    value: u64,
    low: u64,
    high: u64,
}

impl Bounded {
    /// Rounded, the interval outwards.
    fn new(value: f64, interval: Interval) -> Self {
        let value = value.round() as u64;
        let (low, high) = (interval.low.floor() as u64, interval.high.ceil() as u64);
        Self { value, low: low.min(value), high: high.max(value) }
    }
}

impl Shown {
    fn new(profile: &Profile, measure: &Measure, exact: bool) -> Self {
        let bounded = |value: f64, interval: Interval| {
            let value = if exact { value.round() } else { value };
            Bounded::new(value, if exact { Interval { low: value, high: value } } else { interval })
        };
        let amount = Some(bounded(measure.bytes.value, profile.bytes_interval(measure)));
        let (samples, share) = (measure.samples, profile.share(measure));
        if profile.source == Source::Cpu {
            return Self { samples, share, bytes: None, nanoseconds: amount, objects: None };
        }
        let objects = Some(bounded(measure.objects.value, profile.objects_interval(measure)));
        Self { samples, share, bytes: amount, nanoseconds: None, objects }
    }
}

/// A region and its rates.
#[derive(Serialize)]
struct RegionLine<'a> {
    region: &'a str,
    #[serde(flatten)]
    measure: Shown,
    #[serde(flatten)]
    amount_per_second: AmountRate,
    #[serde(skip_serializing_if = "Option::is_none")]
    objects_per_second: Option<Rate>,
    mean_size: Option<f64>,
}

#[derive(Serialize)]
struct Rate {
    value: f64,
    low: f64,
    high: f64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum AmountRate {
    Bytes { bytes_per_second: Rate },
    Time { nanoseconds_per_second: Rate },
}

impl AmountRate {
    fn new(source: Source, rate: Rate) -> Self {
        match source {
            Source::Cpu => Self::Time { nanoseconds_per_second: rate },
            _ => Self::Bytes { bytes_per_second: rate },
        }
    }
}

fn region_lines<'a>(recording: &Recording, profile: &Profile, regions: &'a Regions) -> Vec<RegionLine<'a>> {
    let rate = |value: f64, interval: Interval| {
        let Interval { low, high } = interval.per(recording.seconds());
        Rate { value: value / recording.seconds(), low, high }
    };
    let is_memory = profile.source != Source::Cpu;
    let line = |row: &RegionRow| {
        let total = &row.total;
        let (bytes, objects) = (total.bytes.value, total.objects.value);
        RegionLine {
            region: regions.name(row.region),
            measure: Shown::new(profile, total, false),
            amount_per_second: AmountRate::new(profile.source, rate(bytes, profile.bytes_interval(total))),
            objects_per_second: is_memory.then(|| rate(objects, profile.objects_interval(total))),
            mean_size: (objects > 0.0 && is_memory).then(|| bytes / objects),
        }
    };
    regions.rows.iter().map(line).collect()
}

struct Rows<'a> {
    profile: &'a Profile,
    rows: &'a [Row],
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
            measure: Shown::new(self.profile, &row.total, false),
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
            profile.parts.iter().map(|row| Line {
                part: profile.names.text(row.name),
                measure: Shown::new(profile, &row.total, false),
            }),
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
        let exact = match kind {
            None => profile.exact().is_some(),
            Some(kind) => kind == NameKind::Unattributed,
        };
        let shown = Shown::new(profile, &node.total, exact);
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
        match &shown.nanoseconds {
            Some(nanoseconds) => map.serialize_entry("nanoseconds", nanoseconds)?,
            None => {
                map.serialize_entry("bytes", &shown.bytes)?;
                map.serialize_entry("objects", &shown.objects)?;
            }
        }
        map.end()
    }
}
