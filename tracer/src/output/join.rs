//! Time beside memory, on a terminal and as JSON; docs/json.md says what is in that.

use std::io::{self, Write};

use serde::Serialize;

use super::quantity::percent_within;
use crate::profile::join::{Join, JoinRow, Part};
use crate::recording::{About, Recording};

/// Rows on a terminal.
const ROWS: usize = 20;
/// Characters of a name on a terminal.
const NAME: usize = 90;
/// A row on a terminal has this share of something.
const MIN_SHARE: f64 = 1e-3;

/// Writes the tables for people.
pub fn text(join: &Join, out: &mut dyn Write) -> io::Result<()> {
    if !join.regions.is_empty() {
        table("CPU time beside allocation, by region", "region", &join.regions, &join.total, out)?;
    }
    let title = "CPU time beside allocation, by the nearest function outside kernel, allocator and standard library";
    table(title, "function", &join.functions, &join.total, out)
}

fn table(title: &str, what: &str, rows: &[JoinRow], total: &JoinRow, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{title} (shares with 95 % intervals)")?;
    line(out, ["CPU time", "of it in the allocator", "allocated bytes", what])?;
    let shown = |row: &&JoinRow| [row.cpu, row.allocated].iter().any(|part| part.share >= MIN_SHARE);
    for row in [total].into_iter().chain(rows.iter().filter(shown).take(ROWS)) {
        let [cpu, allocator, allocated] = [row.cpu, row.allocator, row.allocated].map(share);
        let name: String = row.name.chars().take(NAME).collect();
        let cut = if row.name.chars().nth(NAME).is_some() { "…" } else { "" };
        line(out, [&cpu, &allocator, &allocated, &format!("{name}{cut}")])?;
    }
    let left = rows.len() - rows.iter().filter(shown).take(ROWS).count();
    if left > 0 {
        line(out, ["", "", "", &format!("and {left} more")])?;
    }
    Ok(())
}

fn share(part: Part) -> String {
    if part.amount.samples == 0 { "-".to_owned() } else { percent_within(part.share, part.interval) }
}

fn line(out: &mut dyn Write, [cpu, allocator, allocated, name]: [&str; 4]) -> io::Result<()> {
    writeln!(out, "{cpu:<24}  {allocator:<24}  {allocated:<24}  {name}")
}

/// Writes the document, ending in a line feed.
pub fn json(join: &Join, cpu: &Recording, allocations: &Recording, out: &mut dyn Write) -> io::Result<()> {
    let document = Document {
        format: "tracer-join",
        version: 1,
        cpu: &cpu.about,
        allocations: &allocations.about,
        total: Row::new(&join.total),
        functions: join.functions.iter().map(|row| FunctionLine { function: &row.name, row: Row::new(row) }).collect(),
        regions: (!join.regions.is_empty())
            .then(|| join.regions.iter().map(|row| RegionLine { region: &row.name, row: Row::new(row) }).collect()),
    };
    serde_json::to_writer(&mut *out, &document)?;
    writeln!(out)
}

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    version: u32,
    cpu: &'a About,
    allocations: &'a About,
    total: Row,
    functions: Vec<FunctionLine<'a>>,
    regions: Option<Vec<RegionLine<'a>>>,
}

#[derive(Serialize)]
struct FunctionLine<'a> {
    function: &'a str,
    #[serde(flatten)]
    row: Row,
}

#[derive(Serialize)]
struct RegionLine<'a> {
    region: &'a str,
    #[serde(flatten)]
    row: Row,
}

#[derive(Serialize)]
struct Row {
    cpu: Time,
    cpu_in_allocator: Time,
    allocated: Memory,
}

impl Row {
    fn new(row: &JoinRow) -> Self {
        let amount = |part: &Part| part.amount.bytes.value.round() as u64;
        let time = |part: &Part| Time { of: Shown::new(part), nanoseconds: amount(part) };
        let allocated = Memory { of: Shown::new(&row.allocated), bytes: amount(&row.allocated) };
        Self { cpu: time(&row.cpu), cpu_in_allocator: time(&row.allocator), allocated }
    }
}

#[derive(Serialize)]
struct Time {
    #[serde(flatten)]
    of: Shown,
    nanoseconds: u64,
}

#[derive(Serialize)]
struct Memory {
    #[serde(flatten)]
    of: Shown,
    bytes: u64,
}

#[derive(Serialize)]
struct Shown {
    samples: u64,
    share: Bounded,
}

#[derive(Serialize)]
struct Bounded {
    value: f64,
    low: f64,
    high: f64,
}

impl Shown {
    fn new(part: &Part) -> Self {
        let share = Bounded { value: part.share, low: part.interval.low, high: part.interval.high };
        Self { samples: part.amount.samples, share }
    }
}
