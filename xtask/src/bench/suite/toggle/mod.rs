//! How long a thread of the target stands still while breakpoints go in and out.

mod gap;

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    goal::{Goal, Verdict},
    interleave::interleave,
    probes::{NEVER, Probes},
    report::Section,
    scale::Scale,
    spread::Spread,
};
use gap::Gap;

const TOGGLES: usize = 200;
const LIMIT: Duration = Duration::from_secs(170);
/// Before breakpoints go in, while they are in, and after they went.
const PAUSE: Duration = Duration::from_millis(5);
const QUICK: usize = 10;
const GOAL_NS: f64 = 1e6;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Arm {
    Nothing,
    Multi,
    Session,
    PerfEvent,
}

const ARMS: [(Arm, &str); 4] = [
    (Arm::Nothing, "nothing"),
    (Arm::Multi, "multi link, all functions that allocate"),
    (Arm::Session, "session link, all functions, and releases by a multi link"),
    (Arm::PerfEvent, "perf event, `malloc` alone"),
];

/// Longest gaps, and times that switching took.
#[derive(Default)]
struct Found {
    gaps_us: Vec<f64>,
    on_ms: Vec<f64>,
    off_ms: Vec<f64>,
}

/// Toggles.
///
/// # Errors
/// When something cannot be attached.
pub fn run(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    let mut gap = Gap::start()?;
    let mut counting = Probes::new(gap.pid(), None)?;
    let mut following = Probes::new(gap.pid(), Some(true))?;
    counting.set_interval(NEVER)?;
    following.set_interval(NEVER)?;

    let mut found: [Found; ARMS.len()] = Default::default();
    let count = if scale.quick { QUICK } else { TOGGLES };
    let rounds = interleave(ARMS.len(), count, LIMIT, |arm| {
        gap.go()?;
        thread::sleep(PAUSE);
        let times = toggle(ARMS[arm].0, &mut counting, &following, gap.pid())?;
        thread::sleep(PAUSE);
        let longest = gap.stop()?;
        found[arm].gaps_us.push(longest / 1e3);
        if let Some((on, off)) = times {
            found[arm].on_ms.push(on);
            found[arm].off_ms.push(off);
        }
        Ok(longest)
    })?;

    section.line(&format!(
        "A thread ({}) that makes pairs of `malloc` and `free` and nothing else, but for a rest of 0.2 ms in every 2, notes its \
         longest time between two pairs, while breakpoints go in, stay for {} ms, and go; {} times each.",
        gap.scheduling(),
        PAUSE.as_millis(),
        rounds.len()
    ));
    let largest = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let long = |found: &Found| found.gaps_us.iter().filter(|&&gap| gap * 1e3 >= GOAL_NS).count();
    let rows = ARMS.iter().zip(&found).map(|((arm, name), found)| {
        let switching = |values: &[f64]| {
            if *arm == Arm::Nothing { String::new() } else { Spread::of(values.iter().copied()).digits(1) }
        };
        vec![
            (*name).to_owned(),
            Spread::of(found.gaps_us.iter().copied()).digits(0),
            format!("{:.0}", largest(&found.gaps_us)),
            long(found).to_string(),
            switching(&found.on_ms),
            switching(&found.off_ms),
        ]
    });
    let head = ["links", "longest gap of each, µs", "of all, µs", "above 1 ms", "ms to attach", "ms to detach"];
    section.table(&head, &rows.collect::<Vec<_>>());
    let [nothing, multi, session, _] = &found;
    for (name, toggled) in [("multi", multi), ("session", session)] {
        let (longest, longest_without) = (largest(&toggled.gaps_us), largest(&nothing.gaps_us));
        section.goal(Goal {
            what: format!("the longest stall while {name} links are toggled is below 1 ms"),
            verdict: verdict(longest * 1e3, long(toggled), long(nothing)),
            found: format!("{longest:.0} µs in {} toggles; {longest_without:.0} µs without", toggled.gaps_us.len()),
        });
    }
    Ok(())
}

/// Where gaps above the goal are no more frequent than without toggling (two Poisson counts within two standard deviations), they
/// say nothing of it.
fn verdict(longest_ns: f64, long: usize, long_without: usize) -> Verdict {
    let (with, without) = (long as f64, long_without as f64);
    if longest_ns < GOAL_NS {
        Verdict::Met
    } else if without > 0.0 && with - without <= 2.0 * (with + without).sqrt() {
        Verdict::Noise
    } else {
        Verdict::NotMet
    }
}

/// Switches on and off; how long each took, in milliseconds.
fn toggle(arm: Arm, counting: &mut Probes, following: &Probes, pid: u32) -> anyhow::Result<Option<(f64, f64)>> {
    let timed = |attach: &mut dyn FnMut() -> anyhow::Result<Box<dyn Send>>| {
        let start = Instant::now();
        let links = attach()?;
        let on = start.elapsed();
        thread::sleep(PAUSE);
        let start = Instant::now();
        drop(links);
        anyhow::Ok(Some((on.as_secs_f64() * 1e3, start.elapsed().as_secs_f64() * 1e3)))
    };
    match arm {
        Arm::Nothing => {
            thread::sleep(10 * PAUSE);
            Ok(None)
        }
        Arm::Multi => timed(&mut || Ok(Box::new(counting.attach_all(pid)?))),
        Arm::Session => timed(&mut || Ok(Box::new(following.follow(&following.following, pid)?))),
        Arm::PerfEvent => timed(&mut || {
            let malloc = counting.malloc;
            Ok(Box::new(counting.attach_perf_event(malloc, pid)?))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_gaps_count_when_toggling_makes_more_of_them() {
        assert_eq!(verdict(0.9e6, 0, 3), Verdict::Met);
        assert_eq!(verdict(8e6, 190, 2), Verdict::NotMet);
        assert_eq!(verdict(2e6, 1, 0), Verdict::NotMet);
        assert_eq!(verdict(2e6, 3, 2), Verdict::Noise);
    }
}
