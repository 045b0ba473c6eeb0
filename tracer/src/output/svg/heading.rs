//! Title and subtitle, and what of the latter does not fit above the picture.

use crate::estimate::{Measure, Totals};
use crate::output::quantity::{bytes, bytes_within, count, duration, percent, time};
use crate::output::shown;
use crate::profile::name::printable;
use crate::profile::{Profile, View};
use crate::recording::{Recording, StackEnd, about::Source};

/// What was recorded: process and duration.
pub fn title(recording: &Recording, profile: &Profile) -> String {
    let about = &recording.about;
    let (name, pid, time) = (printable(&about.process.name), about.process.pid, duration(about.duration_ns));
    let others = match about.other_processes.len() {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    let what = what(profile);
    format!("{what}: {name} (pid {pid}){others}, {time}")
}

/// What the widths of frames are.
fn what(profile: &Profile) -> String {
    match (profile.view, &profile.live) {
        (View::InUse, _) => "Bytes in use at the end".into(),
        (View::Peak, Some(live)) => format!("Bytes in use at the peak, after {}", duration(live.peak.time_ns)),
        (View::Temporary, Some(live)) => {
            format!("Bytes of temporary blocks, released within {}", time(live.temporary.within_ns))
        }
        _ => profile.source.title().into(),
    }
}

/// Characters that fit in a line of the picture, 1,200 pixels wide.
const LINE: usize = 160;
/// Between two facts.
const BAR: &str = " | ";

/// Lines of as many facts as fit. The first goes above the picture, the others below.
pub fn lines(facts: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for fact in facts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + BAR.len() + fact.chars().count() <= LINE => {
                line.push_str(BAR);
                line.push_str(&fact);
            }
            _ => lines.push(fact),
        }
    }
    lines
}

/// The numbers to judge the picture by: totals and how they are known, samples, losses, completeness of stacks. Losses come
/// so early that they are above the picture, whatever else is not.
pub fn facts(recording: &Recording, profile: &Profile) -> Vec<String> {
    let amount = match profile.view {
        View::Allocated => shown::totals(&profile.calibration, profile.source),
        view => {
            let total = profile.total();
            let amount = bytes_within(total.bytes.value, profile.bytes_interval(&total));
            let explained = if view == View::InUse { explained(recording, &total) } else { String::new() };
            format!("{amount} (estimated){explained}")
        }
    };
    let samples = format!("{} samples, {}", count(recording.samples.len() as u64), interval(recording));
    let mut facts = vec![amount, samples, losses(recording), completeness(recording)];
    if profile.calibration.in_windows() {
        facts.push(format!("counted in {}", shown::windows(&recording.about.epochs)));
    }
    if let Totals::AtLeast { because, .. } = profile.totals() {
        facts.push(shown::reason(because));
    }
    facts
}

/// How much of the resident memory is explained by blocks in use.
fn explained(recording: &Recording, in_use: &Measure) -> String {
    match recording.about.live.as_ref().map_or(0, |live| live.resident_bytes[1]) {
        0 => String::new(),
        resident => {
            let share = percent(in_use.bytes.value / resident as f64);
            format!(", {share} of {} resident", bytes(resident as f64))
        }
    }
}

/// How far apart samples were: `1 per 512 KiB`.
pub fn interval(recording: &Recording) -> String {
    let source = recording.about.source;
    let intervals = || recording.samples.iter().map(|sample| sample.interval);
    match (intervals().min().unwrap_or(0), intervals().max().unwrap_or(0)) {
        (_, 0) if source == Source::PageFaults => "every page fault".into(),
        (_, 0) => "every call".into(),
        (low, _) if source == Source::Cpu => format!("1 per {} of CPU time", source.amount(low as f64)),
        (low, high) if low == high => format!("1 per {}", bytes(low as f64)),
        (low, high) => format!("1 per {} to {}", bytes(low as f64), bytes(high as f64)),
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
