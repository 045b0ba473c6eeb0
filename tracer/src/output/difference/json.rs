//! The difference for scripts; docs/json.md says what is in it.

use std::io::{self, Write};

use serde::Serialize;

use super::{Compared, Per};
use crate::estimate::compare::Rate;
use crate::output::quantity::significant;
use crate::profile::difference::{Chance, Change, Row, Verdict};
use crate::recording::About;
use crate::recording::about::Source;

/// Writes the document, ending in a line feed.
pub fn write(compared: &Compared<'_>, out: &mut dyn Write) -> io::Result<()> {
    let difference = compared.difference;
    let rows = |rows: &'_ [Row]| rows.iter().map(|row| Named { name: row.name.clone(), change: row.into() }).collect();
    let recording = |half: usize| Half {
        name: compared.names[half],
        samples: compared.recordings[half].samples.len(),
        divisor: match compared.per {
            Per::Second => compared.recordings[half].seconds(),
            Per::Unit(units) => units[half],
        },
        about: &compared.recordings[half].about,
    };
    let document = Document {
        format: "tracer-difference",
        version: 1,
        source: compared.source(),
        before: recording(0),
        after: recording(1),
        per: match compared.per {
            Per::Second => "second",
            Per::Unit(_) => "unit",
        },
        chance: match compared.chance {
            Chance::Time => "time",
            Chance::Sampling => "sampling",
        },
        questions: difference.questions,
        total: Shown::new(&difference.total),
        regions: rows(&difference.regions),
        sites: rows(&difference.sites),
        functions: rows(&difference.functions),
    };
    serde_json::to_writer(&mut *out, &document)?;
    writeln!(out)
}

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    version: u32,
    source: Source,
    before: Half<'a>,
    after: Half<'a>,
    per: &'static str,
    chance: &'static str,
    questions: [usize; 2],
    total: Shown,
    regions: Vec<Named>,
    sites: Vec<Named>,
    functions: Vec<Named>,
}

#[derive(Serialize)]
struct Half<'a> {
    name: &'a str,
    samples: usize,
    divisor: f64,
    about: &'a About,
}

#[derive(Serialize)]
struct Named {
    name: String,
    #[serde(flatten)]
    change: Shown,
}

#[derive(Serialize)]
struct Shown {
    before: Bounded,
    after: Bounded,
    difference: Bounded,
    /// Null where there was nothing before.
    relative: Option<f64>,
    samples: [u64; 2],
    p: f64,
    p_corrected: Option<f64>,
    verdict: &'static str,
}

#[derive(Serialize)]
struct Bounded {
    value: f64,
    low: f64,
    high: f64,
}

impl Bounded {
    fn new(value: f64, low: f64, high: f64) -> Self {
        let [value, low, high] = [value, low, high].map(significant);
        Self { value, low, high }
    }
}

impl From<&Row> for Shown {
    fn from(row: &Row) -> Self {
        Self::new(&row.change)
    }
}

impl Shown {
    fn new(change: &Change) -> Self {
        let rate = |rate: Rate| {
            let margin = rate.margin();
            Bounded::new(rate.value, (rate.value - margin).max(0.0), rate.value + margin)
        };
        let difference = change.difference;
        Self {
            before: rate(change.before),
            after: rate(change.after),
            difference: Bounded::new(
                difference.value,
                difference.value - difference.margin,
                difference.value + difference.margin,
            ),
            relative: Some(significant(change.relative())).filter(|relative| relative.is_finite()),
            samples: change.samples,
            p: significant(difference.p),
            p_corrected: change.corrected.map(significant),
            verdict: match change.verdict() {
                Verdict::Increase => "increase",
                Verdict::Decrease => "decrease",
                Verdict::Chance => "chance",
                Verdict::FewSamples => "few-samples",
            },
        }
    }
}
