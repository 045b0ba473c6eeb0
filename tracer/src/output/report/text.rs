//! The report on a terminal.

use std::io::{self, Write};

use super::Report;
use super::sizes::{Bar, histogram};
use crate::estimate::{Interval, Measure, Totals};
use crate::output::quantity::{bytes, count, percent};
use crate::output::{regions, text};
use crate::recording::about::Source;

/// Parts of a line that a bar is made of, from nothing to full.
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Parts of a character that a horizontal bar is made of.
const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
/// Characters of a horizontal bar.
const BAR: usize = 30;

/// Writes the report.
pub fn write(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let Report { recording, profile, .. } = *report;
    text::process(recording, out)?;
    text::totals(recording, profile, out)?;
    course(report, out)?;
    sizes(report, out)?;
    regions::write(recording, profile, out)?;
    if !profile.sites.is_empty() {
        let title = format!("{}: {}", profile.source.sites(), profile.source.nearest());
        text::table(&title, "site", profile, &profile.sites, out)?;
    }
    Ok(())
}

/// A line for everything and one for each region; columns are stretches of time.
fn course(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let Report { profile, timeline, .. } = *report;
    if timeline.all.iter().all(|measure| measure.samples == 0) {
        return Ok(());
    }
    let shortest = timeline.stretches.iter().map(|stretch| stretch.seconds()).fold(f64::INFINITY, f64::min);
    let longest = timeline.stretches.iter().map(|stretch| stretch.seconds()).fold(0.0, f64::max);
    let column =
        if longest > 1.5 * shortest { format!("{shortest:.2} to {longest:.2} s") } else { format!("{longest:.2} s") };
    let bound = if matches!(profile.totals(), Totals::AtLeast { .. }) { "; lower bounds" } else { "" };
    writeln!(
        out,
        "\n{} per second over time: a column is {column}, the highest of each line is full (estimates with 95 % \
         intervals{bound})",
        if profile.source == Source::Cpu { "CPU time" } else { "Bytes" },
    )?;
    writeln!(out, "{:<26}  {:<width$}  of", "highest", "", width = timeline.stretches.len())?;
    line(report, &timeline.all, "all", out)?;
    if let Some(regions) = &profile.regions {
        for row in regions.rows.iter().filter(|row| row.total.samples > 0) {
            line(report, timeline.region(row.region), regions.name(row.region), out)?;
        }
    }
    Ok(())
}

fn line(report: &Report<'_>, measures: &[Measure], name: &str, out: &mut dyn Write) -> io::Result<()> {
    let rates: Vec<(f64, Interval)> =
        measures.iter().enumerate().map(|(i, measure)| report.timeline.rate(i, measure)).collect();
    let Some(&(highest, interval)) = rates.iter().max_by(|a, b| a.0.total_cmp(&b.0)) else { return Ok(()) };
    let level = |(rate, _): &(f64, Interval)| match rate / highest {
        part if part > 0.0 => LEVELS[((part * 8.0).round() as usize).clamp(1, 8)],
        _ => LEVELS[0],
    };
    let bars: String = rates.iter().map(level).collect();
    writeln!(out, "{:<26}  {bars}  {name}", report.profile.source.amount_within(highest, interval))
}

/// The histogram of sizes.
fn sizes(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let bars = histogram(&report.recording.about);
    let sum = |of: fn(&Bar) -> u64| bars.iter().map(|bar| of(bar) as f64).sum::<f64>();
    let (calls, all_bytes) = (sum(|bar| bar.calls), sum(|bar| bar.bytes));
    let most = bars.iter().map(|bar| bar.bytes).max().unwrap_or(0);
    if calls <= 0.0 {
        return Ok(());
    }
    let kind = if report.profile.calibration.in_windows() { "exact, as counted in windows" } else { "exact" };
    writeln!(out, "\nSizes ({kind})")?;
    writeln!(out, "{:>22}  {:>15} {:>8}  {:>10} {:>8}", "size", "calls", "", "bytes", "")?;
    for bar in &bars {
        let share = |part: u64, whole: f64| percent(if whole > 0.0 { part as f64 / whole } else { 0.0 });
        let drawn = horizontal(if most > 0 { bar.bytes as f64 / most as f64 } else { 0.0 });
        let range = format!("{} to {}", bytes(bar.from as f64), bytes(bar.to as f64 + 1.0));
        let row = format!(
            "{range:>22}  {:>15} {:>8}  {:>10} {:>8}  {drawn}",
            count(bar.calls),
            share(bar.calls, calls),
            bytes(bar.bytes as f64),
            share(bar.bytes, all_bytes)
        );
        writeln!(out, "{}", row.trim_end())?;
    }
    Ok(())
}

/// A bar of [`BAR`] characters, filled to a share.
fn horizontal(share: f64) -> String {
    let eighths = (share * (8 * BAR) as f64).round() as usize;
    let mut bar: String = std::iter::repeat_n('█', eighths / 8).collect();
    if !eighths.is_multiple_of(8) {
        bar.push(PARTS[eighths % 8]);
    } else if eighths == 0 && share > 0.0 {
        bar.push(PARTS[1]);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_eighths() {
        assert_eq!([0.0, 1e-9, 1.0 / 30.0, 0.05].map(horizontal), ["", "▏", "█", "█▌"]);
        assert_eq!(horizontal(1.0).chars().count(), BAR);
    }
}
