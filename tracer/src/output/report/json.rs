//! The report for scripts; docs/json.md says what is in it.

use std::io::{self, Write};

use serde::Serialize;

use super::Report;
use super::sizes::histogram;
use crate::estimate::{Measure, Totals};
use crate::output::json::{Rate, RegionLine, Rows, Shown, kind_of_totals, region_lines};
use crate::recording::{About, about::Source};

/// Writes the document, ending in a line feed.
pub fn write(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let Report { recording, profile, timeline } = *report;
    let bounded = !matches!(profile.totals(), Totals::AtLeast { .. });
    let rates = |measures: &[Measure]| -> Vec<Rate> {
        let rate = |(i, measure): (usize, &Measure)| {
            let (value, interval) = timeline.rate(i, measure);
            Rate::new(value, interval, bounded)
        };
        measures.iter().enumerate().map(rate).collect()
    };
    let course = |measures: &[Measure]| match profile.source {
        Source::Cpu => Rates::Time { nanoseconds_per_second: rates(measures) },
        _ => Rates::Memory { bytes_per_second: rates(measures) },
    };
    let mut over_time = vec![Course { region: None, rates: course(&timeline.all) }];
    if let Some(regions) = &profile.regions {
        over_time.extend(
            regions.rows.iter().map(|row| Course {
                region: Some(regions.name(row.region)),
                rates: course(timeline.region(row.region)),
            }),
        );
    }
    let document = Document {
        format: "tracer-report",
        version: 1,
        about: &recording.about,
        samples: recording.samples.len(),
        totals: kind_of_totals(&profile.calibration),
        total: Shown::everything(profile),
        stretches: timeline.stretches.iter().map(|stretch| [stretch.start_ns, stretch.end_ns]).collect(),
        over_time,
        sizes: histogram(&recording.about)
            .into_iter()
            .map(|bar| Size { from: bar.from, to: bar.to, calls: bar.calls, bytes: bar.bytes })
            .collect(),
        regions: profile.regions.as_ref().map(|regions| region_lines(recording, profile, regions)),
        sites: Rows { profile, rows: &profile.sites },
    };
    serde_json::to_writer(&mut *out, &document)?;
    writeln!(out)
}

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    version: u32,
    about: &'a About,
    samples: usize,
    totals: &'static str,
    total: Shown,
    stretches: Vec<[u64; 2]>,
    over_time: Vec<Course<'a>>,
    sizes: Vec<Size>,
    regions: Option<Vec<RegionLine<'a>>>,
    sites: Rows<'a>,
}

#[derive(Serialize)]
struct Course<'a> {
    region: Option<&'a str>,
    #[serde(flatten)]
    rates: Rates,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Rates {
    Memory { bytes_per_second: Vec<Rate> },
    Time { nanoseconds_per_second: Vec<Rate> },
}

#[derive(Serialize)]
struct Size {
    from: u64,
    to: u64,
    calls: u64,
    bytes: u64,
}
