//! The difference on a terminal.

use std::io::{self, Write};

use super::{Compared, Per};
use crate::estimate::Interval;
use crate::estimate::compare::Rate;
use crate::estimate::slices::SLICES;
use crate::output::quantity::{count, duration, relative_change};
use crate::output::svg::heading::interval;
use crate::profile::difference::{Chance, Change, MIN_SAMPLES, Row, Verdict};
use crate::profile::name::printable;
use crate::recording::about::Source;

/// Lines of a table.
const ROWS: usize = 15;
/// Characters of a function's name in a table.
const NAME: usize = 90;

/// Writes the summary.
pub fn write(compared: &Compared<'_>, out: &mut dyn Write) -> io::Result<()> {
    let (difference, source) = (compared.difference, compared.source());
    heading(compared, out)?;
    writeln!(out, "\nTotal{}", if difference.regions.is_empty() { "" } else { " and regions" })?;
    title(out)?;
    line("all", &difference.total, source, out)?;
    for row in &difference.regions {
        line(&row.name, &row.change, source, out)?;
    }
    table(&format!("{}: {}", source.sites(), source.nearest()), &difference.sites, source, out)?;
    table("Functions with all that is below them", &difference.functions, source, out)
}

fn heading(compared: &Compared<'_>, out: &mut dyn Write) -> io::Result<()> {
    let labels = ["before", "after"];
    for ((label, name), recording) in labels.iter().zip(compared.names).zip(compared.recordings) {
        let about = &recording.about;
        writeln!(
            out,
            "{label:<9} {}: {} (pid {}), {}, {} samples, {}",
            printable(name),
            printable(&about.process.name),
            about.process.pid,
            duration(about.duration_ns),
            count(recording.samples.len() as u64),
            interval(recording)
        )?;
    }
    let amounts = if compared.source() == Source::Cpu { "CPU time" } else { "bytes" };
    match compared.per {
        Per::Second => writeln!(out, "{amounts:<9} per second; 95 % intervals for all that is chance")?,
        Per::Unit([before, after]) => {
            writeln!(
                out,
                "{amounts:<9} per unit of work ({before} before, {after} after); 95 % intervals for all that is chance"
            )?;
        }
    }
    match compared.chance {
        Chance::Time => {
            writeln!(out, "chance    sampling, and variation between {SLICES} slices of each recording's time")?
        }
        Chance::Sampling => {
            writeln!(out, "chance    sampling alone: what these two runs did, not what others would do")?
        }
    }
    let [few, many] = compared.difference.questions;
    writeln!(
        out,
        "verdicts  5 % for any wrong one: corrected for {few} and {many} questions. `=` is what chance would do as well,\n\
         {:9} `?` less than {MIN_SAMPLES} samples",
        ""
    )
}

fn table(name: &str, rows: &[Row], source: Source, out: &mut dyn Write) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{name}")?;
    title(out)?;
    let told = |row: &&Row| matches!(row.change.verdict(), Verdict::Increase | Verdict::Decrease);
    let first = rows.iter().filter(told).chain(rows.iter().filter(|row| !told(row)));
    for row in first.take(ROWS) {
        line(&row.name, &row.change, source, out)?;
    }
    if rows.len() > ROWS {
        let left = rows.iter().filter(told).count().saturating_sub(ROWS);
        writeln!(out, "{} more, {left} of them distinguishable from chance", count((rows.len() - ROWS) as u64))?;
    }
    Ok(())
}

fn title(out: &mut dyn Write) -> io::Result<()> {
    columns(["before", "after", "difference", "change", "", "of"], out)
}

fn line(name: &str, change: &Change, source: Source, out: &mut dyn Write) -> io::Result<()> {
    let mut shown: String = name.chars().take(NAME).collect();
    if name.chars().nth(NAME).is_some() {
        shown.push('…');
    }
    let difference = source.change(change.difference.value, change.difference.margin);
    let verdict = match change.verdict() {
        Verdict::Increase => "more",
        Verdict::Decrease => "less",
        Verdict::Chance => "=",
        Verdict::FewSamples => "?",
    };
    let relative = relative_change(change.relative());
    let [before, after] = [change.before, change.after].map(|of| rate(of, source));
    columns([&before, &after, &difference, &relative, verdict, &shown], out)
}

fn columns([before, after, difference, change, verdict, name]: [&str; 6], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{before:<26}  {after:<26}  {difference:<22}  {change:>8}  {verdict:<4}  {name}")
}

/// A rate with its interval.
pub fn rate(rate: Rate, source: Source) -> String {
    let margin = rate.margin();
    source.amount_within(rate.value, Interval { low: (rate.value - margin).max(0.0), high: rate.value + margin })
}
