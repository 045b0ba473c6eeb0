//! How the numbers of a node, a site or of everything are written: exact, with their interval, or as a bound.

use super::quantity::{bytes, count, objects_within, percent, percent_within};
use crate::estimate::epochs::Unbounded;
use crate::estimate::{Calibration, Interval, Measure, Totals};
use crate::profile::Profile;
use crate::recording::about::{Epoch, Source};

/// The numbers of a group.
pub struct Shown {
    /// Share of all bytes; with its interval where bytes do not have the same.
    pub share: String,
    /// Bytes, or CPU time.
    pub bytes: String,
    /// Objects.
    pub objects: String,
}

impl Shown {
    /// Of a group.
    pub fn new(profile: &Profile, group: &Measure) -> Self {
        Self::per(profile, group, 1.0)
    }

    /// Of a group; bytes and objects divided, by seconds for example.
    pub fn per(profile: &Profile, group: &Measure, divisor: f64) -> Self {
        let of_bytes = profile.bytes_interval(group).per(divisor);
        let of_objects = profile.objects_interval(group).per(divisor);
        let share = match profile.calibration.in_windows() {
            true => percent_within(profile.share(group), profile.share_interval(group)),
            false => percent(profile.share(group)),
        };
        if let Totals::AtLeast { .. } = profile.totals() {
            return Self { share, bytes: at_least(of_bytes, bytes), objects: at_least(of_objects, whole) };
        }
        Self {
            share,
            bytes: profile.source.amount_within(group.bytes.value / divisor, of_bytes),
            objects: objects_within(group.objects.value / divisor, of_objects),
        }
    }
}

/// Everything, in bytes and calls or in CPU time and ticks, with what kind of number that is.
pub fn totals(of: &Calibration, source: Source) -> String {
    let events = source.events();
    match of.totals() {
        Totals::Exact(exact) => {
            format!("{} in {} {events} (exact)", source.amount(exact.bytes as f64), count(exact.calls))
        }
        Totals::Estimated { bytes, objects } => format!(
            "{} in {} {events} (estimated)",
            source.amount_within(bytes.value, bytes.interval),
            objects_within(objects.value, objects.interval)
        ),
        Totals::AtLeast { bytes: low, objects, .. } => {
            format!("at least {} in at least {} calls", bytes(low.floor()), whole(objects))
        }
    }
}

/// Why there are lower bounds only.
pub fn reason(because: Unbounded) -> String {
    match because {
        Unbounded::Slowed(times) => format!(
            "probes made the program {times:.1} times slower while they were in: shares hold, totals are lower bounds"
        ),
        Unbounded::CostUnknown => "what a trap costs is not known: shares hold, totals are lower bounds".into(),
        Unbounded::Unseen => "the program ran on while probes were out, and nothing is known of that time".into(),
    }
}

/// How much of the time calls were counted in: `30 windows, 2.10 % of the time`.
pub fn windows(epochs: &[Epoch]) -> String {
    let windows = || epochs.iter().filter(|epoch| epoch.window.length_ns > 0);
    let inside: f64 = windows().map(|epoch| epoch.window.length_ns as f64).sum();
    let all: f64 = epochs.iter().map(|epoch| epoch.length_ns as f64).sum();
    let share = if all > 0.0 { (inside / all).min(1.0) } else { 0.0 };
    match windows().count() {
        1 => format!("1 window, {} of the time", percent(share)),
        n => format!("{} windows, {} of the time", count(n as u64), percent(share)),
    }
}

fn at_least(interval: Interval, number: fn(f64) -> String) -> String {
    format!("at least {}", number(interval.low.floor()))
}

fn whole(number: f64) -> String {
    count(number.floor() as u64)
}
