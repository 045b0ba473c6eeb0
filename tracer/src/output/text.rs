//! The summary on a terminal.

use std::io::{self, Write};

use super::quantity::{bytes, count, duration, objects_within, percent, time};
use super::svg::heading::interval;
use super::{Destination, Format};
use crate::profile::name::printable;
use crate::profile::{Profile, Row};
use crate::recording::Recording;
use crate::recording::about::{Ended, Process, Source};

/// Lines of a table.
const ROWS: usize = 15;
/// Functions with this share of the CPU time are those that run all else, such as `main`.
const EVERYWHERE: f64 = 0.98;
/// Characters of a function's name in a table.
const NAME: usize = 90;

/// Writes the summary of a recording and the files that were made of it.
pub fn write(recording: &Recording, profile: &Profile, files: &[Destination], out: &mut dyn Write) -> io::Result<()> {
    process(recording, out)?;
    totals(recording, profile, out)?;
    stacks(recording, out)?;
    losses(recording, out)?;
    if let Some(split) = profile.split.filter(|_| !profile.parts.is_empty()) {
        table(&format!("By {split}"), &split.to_string(), profile, &profile.parts, out)?;
    }
    super::regions::write(recording, profile, out)?;
    if !profile.sites.is_empty() {
        table(profile.source.sites(), "site", profile, &profile.sites, out)?;
    }
    if profile.source == Source::Cpu && !profile.functions.is_empty() {
        // Those that are in nearly every stack say nothing.
        let rows: Vec<Row> =
            profile.functions.iter().filter(|row| profile.share(&row.total) < EVERYWHERE).copied().collect();
        table("CPU time of functions, with everything they call", "function", profile, &rows, out)?;
    }
    next(recording, files, out)
}

fn process(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    let about = &recording.about;
    let ended = match about.ended {
        Ended::Duration => "",
        Ended::Interrupted => ", interrupted",
        Ended::TargetExited => ", until it ended",
    };
    let (name, executable) = (printable(&about.process.name), printable(&about.process.executable));
    writeln!(out, "process   {name} (pid {}), {executable}", about.process.pid)?;
    for Process { pid, name, executable } in &about.other_processes {
        writeln!(out, "          {} (pid {pid}), {}", printable(name), printable(executable))?;
    }
    writeln!(out, "recorded  {}{ended}", duration(about.duration_ns))
}

fn totals(recording: &Recording, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    let (total, source) = (profile.total(), recording.about.source);
    let (verb, events) = (source.verb(), source.events());
    match profile.exact() {
        Some(exact) if source == Source::Cpu => {
            let share = exact.bytes as f64 / recording.about.duration_ns.max(1) as f64;
            let (amount, ticks) = (time(exact.bytes as f64), count(exact.calls));
            writeln!(out, "{verb} {amount} (exact), {} of one CPU, in {ticks} {events}", percent(share))?;
        }
        Some(exact) => {
            let rate = exact.bytes as f64 / recording.seconds();
            let (amount, calls) = (bytes(exact.bytes as f64), count(exact.calls));
            writeln!(out, "{verb} {amount} in {calls} {events}, {}/s (exact)", bytes(rate))?;
        }
        None => {
            let amount = source.amount_within(total.bytes.value, profile.bytes_interval(&total));
            let objects = objects_within(total.objects.value, profile.objects_interval(&total));
            writeln!(out, "{verb} {amount} in {objects} {events} (estimated)")?;
        }
    }
    writeln!(out, "samples   {}, {}", count(recording.samples.len() as u64), interval(recording))?;
    let unattributed = profile.calibration.unattributed();
    if unattributed.calls > 0 {
        let (amount, calls) = (source.amount(unattributed.bytes as f64), count(unattributed.calls));
        writeln!(out, "          {amount} in {calls} {events} (exact) are of sizes that no sample has: unattributed")?;
    }
    Ok(())
}

fn stacks(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    let unwinding = &recording.about.unwinding;
    let truncated = unwinding.truncated.iter().fold(0u64, |sum, t| sum.saturating_add(t.samples));
    let all = unwinding.complete.saturating_add(unwinding.assisted).saturating_add(truncated);
    if all == 0 {
        return Ok(());
    }
    let share = |samples: u64| percent(samples as f64 / all as f64);
    writeln!(
        out,
        "stacks    {} complete, {} complete with the help of frame pointers, {} truncated",
        share(unwinding.complete),
        share(unwinding.assisted),
        share(truncated)
    )?;
    for truncation in &unwinding.truncated {
        let place = match &truncation.module[..] {
            "" => String::new(),
            module => format!(" in {}", printable(module)),
        };
        writeln!(out, "          {}: {}{place}", share(truncation.samples), printable(&truncation.reason))?;
        if !truncation.hint.is_empty() {
            writeln!(out, "            hint: {}", printable(&truncation.hint))?;
        }
    }
    Ok(())
}

fn losses(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    let losses = &recording.about.losses;
    let ticks = recording.about.source == Source::Cpu;
    let counted = |why: &str| if ticks { why.to_owned() } else { format!("{why} (its bytes are in the exact totals)") };
    let (full, no_scratch) = (counted("the buffer was full"), counted("there was no scratch space"));
    let lost = [
        (losses.ring_full, "sample", &full[..]),
        (losses.scratch_busy, "sample", &no_scratch),
        (losses.undecodable, "record", "it could not be decoded"),
        (losses.events, "process event", "the buffer was full: stacks may be truncated after it"),
        (losses.processes, "process", "there were too many to follow"),
        (losses.mappings, "mapping", "its process has too many: stacks through it are truncated"),
        (losses.tables, "unwind table", "memory for tables was used up: stacks through its module are truncated"),
    ];
    let mut label = "lost      ";
    for (number, what, why) in lost.into_iter().filter(|(number, ..)| *number > 0) {
        writeln!(out, "{label}{} x {what}: {why}", count(number))?;
        label = "          ";
    }
    if label == "lost      " {
        writeln!(out, "lost      nothing")?;
    }
    for note in &recording.about.notes {
        writeln!(out, "note      {}", printable(note))?;
    }
    Ok(())
}

fn table(title: &str, what: &str, profile: &Profile, rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    let shown = rows.len().min(ROWS);
    writeln!(out, "\n{title} (estimates with 95 % intervals)")?;
    let source = profile.source;
    if source == Source::Cpu {
        writeln!(out, "{:>8}  {:<26}  {:>10}  {what}", "share", "CPU time", "samples")?;
    } else {
        writeln!(out, "{:>8}  {:<26}  {:<28}  {:>10}  {what}", "share", "bytes", source.objects(), "mean size")?;
    }
    for row in rows.iter().take(shown) {
        let total = &row.total;
        let name: String = profile.names.text(row.name).chars().take(NAME).collect();
        let cut = if profile.names.text(row.name).chars().nth(NAME).is_some() { "…" } else { "" };
        let (share, amount) =
            (percent(profile.share(total)), source.amount_within(total.bytes.value, profile.bytes_interval(total)));
        if source == Source::Cpu {
            writeln!(out, "{share:>8}  {amount:<26}  {:>10}  {name}{cut}", count(total.samples))?;
            continue;
        }
        writeln!(
            out,
            "{share:>8}  {amount:<26}  {:<28}  {:>10}  {name}{cut}",
            objects_within(total.objects.value, profile.objects_interval(total)),
            bytes(total.bytes.value / total.objects.value.max(1.0)),
        )?;
    }
    if rows.len() > shown {
        // Functions with all that they call overlap: what is left of them adds up to nothing.
        let left = match what {
            "function" => String::new(),
            _ => percent(rows.iter().skip(shown).map(|row| profile.share(&row.total)).sum()),
        };
        writeln!(out, "{left:>8}  in {} more", count((rows.len() - shown) as u64))?;
    }
    Ok(())
}

/// Why there may be no sample, and what to do.
fn nothing(source: Source) -> &'static str {
    match source {
        Source::Allocations => "No allocation was sampled: record longer, or with a smaller --interval.",
        Source::Cpu => "No tick found it on a CPU: it hardly runs. Record longer, or with a higher --frequency.",
        Source::PageFaults | Source::Mmap | Source::Brk => {
            "There was no such event: the process did not grow this way."
        }
    }
}

fn next(recording: &Recording, files: &[Destination], out: &mut dyn Write) -> io::Result<()> {
    let paths = || files.iter().filter_map(|file| Some((file.path()?.display(), file.format())));
    if recording.samples.is_empty() {
        writeln!(out, "\n{}", nothing(recording.about.source))?;
    }
    for (i, (path, _)) in paths().enumerate() {
        writeln!(out, "{}wrote     {path}", if i == 0 { "\n" } else { "" })?;
    }
    for (path, format) in paths() {
        match format {
            Format::Svg => writeln!(out, "next      open {path} in a browser")?,
            Format::Pprof => writeln!(out, "next      tracer render {path} -o FILE.svg; go tool pprof -top {path}")?,
            Format::Folded | Format::Json => {}
        }
    }
    Ok(())
}
