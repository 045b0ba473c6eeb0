//! Title and subtitle.

use crate::output::quantity::{count, duration, percent};
use crate::profile::Profile;
use crate::profile::name::printable;
use crate::recording::{Recording, StackEnd, about::Source};

/// What was recorded: process and duration.
pub fn title(recording: &Recording) -> String {
    let about = &recording.about;
    let (name, pid, time) = (printable(&about.process.name), about.process.pid, duration(about.duration_ns));
    let others = match about.other_processes.len() {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    format!("{}: {name} (pid {pid}){others}, {time}", about.source.title())
}

/// The numbers to judge the picture by: exact totals, samples, completeness of stacks, losses.
pub fn subtitle(recording: &Recording, profile: &Profile) -> String {
    let (total, source) = (profile.total(), recording.about.source);
    let amount = match profile.exact() {
        Some(exact) => {
            format!("{} in {} {} (exact)", source.amount(exact.bytes as f64), count(exact.calls), source.events())
        }
        None => {
            let interval = profile.bytes_interval(&total);
            format!("{} (estimated)", source.amount_within(total.bytes.value, interval))
        }
    };
    let samples = format!("{} samples, {}", count(recording.samples.len() as u64), interval(recording));
    format!("{amount} | {samples} | {} | {}", completeness(recording), losses(recording))
}

/// How far apart samples were: `1 per 512 KiB`.
pub fn interval(recording: &Recording) -> String {
    let source = recording.about.source;
    let intervals = || recording.samples.iter().map(|sample| sample.interval);
    match (intervals().min().unwrap_or(0), intervals().max().unwrap_or(0)) {
        (_, 0) if source == Source::PageFaults => "every page fault".into(),
        (_, 0) => "every call".into(),
        (low, _) if source == Source::Cpu => format!("1 per {} of CPU time", source.amount(low as f64)),
        (low, high) if low == high => format!("1 per {}", source.amount(low as f64)),
        (low, high) => format!("1 per {} to {}", source.amount(low as f64), source.amount(high as f64)),
    }
}

fn completeness(recording: &Recording) -> String {
    let stack_of = |sample: &crate::recording::Sample| recording.stacks.get(sample.stack as usize);
    let stacks = || recording.samples.iter().filter_map(stack_of);
    let all = recording.samples.len().max(1) as f64;
    let truncated = stacks().filter(|stack| stack.end != StackEnd::Complete).count() as f64;
    let assisted = stacks().filter(|s| s.end == StackEnd::Complete && s.frame_pointer_frames > 0).count() as f64;
    let mut text = format!("stacks {} complete", percent(1.0 - truncated / all));
    if assisted > 0.0 {
        text += &format!(", {} by frame pointers", percent(assisted / all));
    }
    text
}

fn losses(recording: &Recording) -> String {
    match recording.about.losses.samples() {
        0 => "no sample lost".into(),
        1 => "1 sample lost".into(),
        lost => format!("{} samples lost", count(lost)),
    }
}
