//! The summary on a terminal.

mod live;

use std::io::{self, Write};

use super::quantity::{bytes, count, duration, percent, time};
use super::shown::{self, Shown};
use super::svg::heading::interval;
use super::{Destination, Format};
use crate::estimate::Totals;
use crate::profile::name::printable;
use crate::profile::{NameIndex, Profile, Row, View};
use crate::recording::Recording;
use crate::recording::about::{Ended, Process, Source};

/// Lines of a table.
const ROWS: usize = 15;
/// Reasons and places of truncated stacks shown.
const MOST_TRUNCATIONS: usize = 6;
/// Functions with this share of the CPU time are those that run all else, such as `main`.
const EVERYWHERE: f64 = 0.98;
/// What the rows of a table are whose rows overlap.
const FUNCTION: &str = "function";
/// Characters of a function's name in a table.
const NAME: usize = 90;

/// Writes the summary of a recording and the files that were made of it.
pub fn write(recording: &Recording, profile: &Profile, files: &[Destination], out: &mut dyn Write) -> io::Result<()> {
    process(recording, out)?;
    totals(recording, profile, out)?;
    stacks(recording, out)?;
    losses(recording, profile, out)?;
    cost(recording, out)?;
    if let Some(split) = profile.split.filter(|_| !profile.parts.is_empty()) {
        table(&format!("By {split}"), &split.to_string(), profile, &profile.parts, out)?;
    }
    super::regions::write(recording, profile, out)?;
    if !profile.sites.is_empty() {
        let of = match profile.view {
            View::Allocated => profile.source.sites(),
            View::InUse => "Sites of blocks in use at the end",
            View::Peak => "Sites of blocks in use at the peak",
            View::Temporary => "Sites of temporary blocks",
        };
        table(&format!("{of}: {}", profile.source.nearest()), "site", profile, &profile.sites, out)?;
    }
    if profile.source == Source::Cpu && !profile.functions.is_empty() {
        // Those that are in nearly every stack say nothing.
        let rows: Vec<Row> =
            profile.functions.iter().filter(|row| profile.share(&row.total) < EVERYWHERE).copied().collect();
        table("CPU time of functions, with everything they call", FUNCTION, profile, &rows, out)?;
    }
    if let Some(heap) = &profile.live {
        live::tables(profile, heap, out)?;
    }
    next(recording, files, out)
}

pub(super) fn process(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    let about = &recording.about;
    let ended = match about.ended {
        Ended::Duration => "",
        Ended::Interrupted => ", interrupted",
        Ended::TargetExited => ", until it ended",
        Ended::ProbesGone => ", until somebody ended the process that held the probes (tracer-attach)",
        Ended::Failed => ", until tracer could not go on (see the note)",
        Ended::MainThreadEnded => {
            ", until its main thread had ended, through which the kernel attaches probes to a process; --children goes on"
        }
        Ended::Budget => ", until it had cost more than --max-overhead allows",
    };
    let (name, executable) = (printable(&about.process.name), printable(&about.process.executable));
    writeln!(out, "process   {name} (pid {}), {executable}", about.process.pid)?;
    for Process { pid, name, executable } in &about.other_processes {
        writeln!(out, "          {} (pid {pid}), {}", printable(name), printable(executable))?;
    }
    writeln!(out, "recorded  {}{ended}", duration(about.duration_ns))
}

pub(super) fn totals(recording: &Recording, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    let (allocated, source) = (&profile.allocated, profile.source);
    let (verb, events) = (source.verb(), source.events());
    let amount = shown::totals(allocated, source);
    match allocated.totals() {
        Totals::Exact(exact) if source == Source::Cpu => {
            let share = exact.bytes as f64 / recording.about.duration_ns.max(1) as f64;
            let period = recording.about.cpu.as_ref().map_or(0, |cpu| cpu.period_ns).max(1);
            let (amount, ticks, due) = (time(exact.bytes), count(exact.calls), count(exact.bytes / period));
            // Ticks may be missed: while interrupts are off for long, or while a virtual machine does not run.
            writeln!(out, "{verb} {amount} (exact), {} of one CPU, in {ticks} {events} of {due} due", percent(share))?;
        }
        Totals::Exact(exact) => {
            let rate = exact.bytes as f64 / recording.seconds();
            let (amount, calls) = (bytes(exact.bytes as f64), count(exact.calls));
            writeln!(out, "{verb} {amount} in {calls} {events}, {}/s (exact)", bytes(rate))?;
            writeln!(out, "counted   every one of them")?;
        }
        Totals::Estimated { .. } => writeln!(out, "{verb} {amount}")?,
        Totals::AtLeast { because, .. } => {
            writeln!(out, "{verb} {amount}")?;
            writeln!(out, "          {}", shown::reason(because))?;
        }
    }
    if let Some(slowdown) = allocated.slowdown() {
        let epochs = &recording.about.epochs;
        let capped = epochs.iter().filter(|epoch| epoch.window.capped).count();
        let early = match capped {
            0 => String::new(),
            1 => "; 1 ended early because of too many hits".into(),
            n => format!("; {} ended early because of too many hits", count(n as u64)),
        };
        let windows = shown::windows(epochs);
        let slower = match allocated.totals() {
            Totals::AtLeast { .. } => String::new(),
            _ => format!(", in which probes made it {}", shown::slower(slowdown)),
        };
        writeln!(out, "counted   in {windows}{slower}{early}")?;
    }
    if let (Some(heap), Some(about)) = (&profile.live, &recording.about.live) {
        live::totals(profile, heap, about, out)?;
    }
    writeln!(out, "samples   {}, {}", count(recording.samples.len() as u64), interval(recording))?;
    let unattributed = allocated.unattributed();
    if unattributed.calls > 0 {
        let (amount, calls) = (source.amount(unattributed.bytes as f64), count(unattributed.calls));
        let kind = if allocated.exact().is_some() { "exact" } else { "as counted" };
        writeln!(out, "          {amount} in {calls} {events} ({kind}) are of sizes that no sample has: unattributed")?;
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
    let (shown, rest) = unwinding.truncated.split_at(unwinding.truncated.len().min(MOST_TRUNCATIONS));
    for truncation in shown {
        let place = match &truncation.module[..] {
            "" => String::new(),
            module => format!(" in {}", printable(module)),
        };
        writeln!(out, "          {}: {}{place}", share(truncation.samples), printable(&truncation.reason))?;
        if !truncation.hint.is_empty() {
            writeln!(out, "            hint: {}", printable(&truncation.hint))?;
        }
    }
    if !rest.is_empty() {
        let samples = rest.iter().fold(0u64, |sum, t| sum.saturating_add(t.samples));
        writeln!(out, "          {}: {} other reasons and places", share(samples), rest.len())?;
    }
    Ok(())
}

fn losses(recording: &Recording, profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    let losses = &recording.about.losses;
    let (full, busy) = match profile.exact() {
        Some(_) if profile.source != Source::Cpu => (
            "the buffer was full (its bytes are in the exact totals)",
            "there was no scratch space (its bytes are in the exact totals)",
        ),
        _ => ("the buffer was full", "there was no scratch space"),
    };
    let lost = [
        (losses.ring_full, "sample", full),
        (losses.scratch_busy, "sample", busy),
        (losses.undecodable, "record", "it could not be decoded"),
        (losses.events, "process event", "the buffer was full: stacks may be truncated for a moment after it"),
        (losses.processes, "process", "there were too many to follow"),
        (
            losses.mappings,
            "mapping",
            "its process has too many, or it could not be read: stacks through it are truncated",
        ),
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

/// What the measurement cost, in two lines.
fn cost(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    let Some(cost) = &recording.about.cost else { return Ok(()) };
    let target = cost.target_cpu_ns as f64;
    let share = |ns: u64| if target > 0.0 { percent(ns as f64 / target) } else { "none".into() };
    let budget = cost.budget.map_or("no budget".into(), |budget| format!("budget {}", percent(budget)));
    writeln!(
        out,
        "cost      {} of the target's {} of CPU time, {} (at most {}; {budget}): {} hits of {} ns ({} to {})",
        duration(cost.spent_ns),
        duration(cost.target_cpu_ns),
        share(cost.spent_ns),
        share(cost.spent_ns_high),
        count(cost.hits),
        count(cost.hit_ns.round() as u64),
        count(cost.hit_ns_low.floor() as u64),
        count(cost.hit_ns_high.ceil() as u64),
    )?;
    writeln!(
        out,
        "          probed {} of the time, {:.2} times slower in it; {} of the time lost at most; tracer itself {} of CPU \
         time, {}",
        percent(cost.probed_share),
        cost.slowdown_in_windows,
        percent(cost.bound),
        duration(cost.tracer_cpu_ns),
        bytes(cost.tracer_peak_bytes as f64),
    )
}

pub(super) fn table(title: &str, what: &str, profile: &Profile, rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    let shown = rows.len().min(ROWS);
    writeln!(out, "\n{title} (estimates with 95 % intervals)")?;
    let width = if profile.calibration.in_windows() { 22 } else { 8 };
    let source = profile.source;
    if source == Source::Cpu {
        writeln!(out, "{:>width$}  {:<26}  {:>10}  {what}", "share", "CPU time", "samples")?;
    } else {
        writeln!(out, "{:>width$}  {:<26}  {:<28}  {:>10}  {what}", "share", "bytes", source.objects(), "mean size")?;
    }
    for row in rows.iter().take(shown) {
        let total = &row.total;
        let numbers = Shown::new(profile, total);
        if source == Source::Cpu {
            let (share, time, samples) = (numbers.share, numbers.bytes, count(total.samples));
            writeln!(out, "{share:>width$}  {time:<26}  {samples:>10}  {}", name(profile, row.name))?;
            continue;
        }
        writeln!(
            out,
            "{:>width$}  {:<26}  {:<28}  {:>10}  {}",
            numbers.share,
            numbers.bytes,
            numbers.objects,
            bytes(total.bytes.value / total.objects.value.max(1.0)),
            name(profile, row.name),
        )?;
    }
    if rows.len() > shown {
        let left = match what {
            FUNCTION => String::new(),
            _ => percent(rows.iter().skip(shown).map(|row| profile.share(&row.total)).sum()),
        };
        writeln!(out, "{left:>width$}  in {} more", count((rows.len() - shown) as u64))?;
    }
    Ok(())
}

/// A function's name, cut where it is too long for a table.
fn name(profile: &Profile, name: NameIndex) -> String {
    let text = profile.names.text(name);
    match text.char_indices().nth(NAME) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::about::Truncation;

    #[test]
    fn of_many_places_where_stacks_end_the_first_are_shown() {
        let mut recording = Recording::default();
        let place = |number: u32| Truncation {
            reason: "unwind table not loaded".to_owned(),
            module: format!("/plugins/{number}.so"),
            samples: 10,
            hint: String::new(),
        };
        recording.about.unwinding.truncated = (0..10).map(place).collect();
        let mut text = Vec::new();
        stacks(&recording, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("in /plugins/5.so\n") && !text.contains("/plugins/6.so"), "{text}");
        assert!(text.ends_with("          40.0 %: 4 other reasons and places\n"), "{text}");
    }
}
