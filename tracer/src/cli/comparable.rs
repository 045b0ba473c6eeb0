//! Whether two recordings can be compared, and what is to be known before they are.

use anyhow::bail;

use crate::{
    estimate::epochs::Epochs,
    output::{difference::Per, shown, svg::heading},
    profile::name::printable,
    recording::{Recording, about::Source},
};

/// How much larger an interval is worth a note: the automatic ones differ a little.
const MUCH_LARGER: u64 = 4;
/// Share of lost samples that is worth a note.
const NOTABLE_LOSS: f64 = 0.01;
/// How many times more than with the least cost of a hit it may be that was allocated, to be worth a note.
const NOTABLE_SPREAD: f64 = 1.2;

/// What is to be known; nothing where all is well.
///
/// # Errors
/// When the recordings have nothing in common that could be compared, or one of them has nothing in it.
pub fn check(recordings: [&Recording; 2], names: [&str; 2]) -> anyhow::Result<Vec<String>> {
    let [before, after] = recordings;
    let [a, b] = [before, after].map(|recording| recording.about.source);
    if a != b {
        bail!("{} has samples of {}, {} of {}; compare recordings of one kind", names[0], kind(a), names[1], kind(b));
    }
    for (recording, name) in recordings.into_iter().zip(names) {
        if recording.about.duration_ns == 0 {
            bail!("{name} has no length; record again");
        }
        // Without a sample there still is the knowledge that nothing was allocated, if calls were counted.
        let counters = &recording.about.counters;
        let calls = counters.iter().flat_map(|counter| &counter.classes).any(|class| class.calls > 0);
        if recording.samples.is_empty() && (calls || counters.is_empty()) {
            bail!("{name} has no samples: there is nothing to compare; record longer, or with a {}", more_often(a));
        }
    }
    let mut notes = Vec::new();
    if before == after {
        notes.push("both are the same recording".to_owned());
    }
    let [a, b] = [before, after].map(|recording| &recording.about.process);
    if file_name(&a.executable) != file_name(&b.executable) {
        notes.push(format!(
            "these are recordings of different programs: {} and {}; functions are compared by name",
            printable(&a.executable),
            printable(&b.executable)
        ));
    }
    if let (Some(a), Some(b)) = (largest_interval(before), largest_interval(after))
        && a.max(b) > MUCH_LARGER * a.min(b).max(1)
    {
        let [a, b] = [before, after].map(heading::interval);
        notes.push(format!(
            "samples are {a} before and {b} after: the rarer ones decide how small a change can be seen; use one {}",
            option(before.about.source)
        ));
    }
    for (recording, name) in recordings.into_iter().zip(names) {
        let lost = recording.about.losses.samples();
        if lost as f64 > NOTABLE_LOSS * recording.taken() as f64 {
            notes.push(format!("{name} has lost {lost} samples: if they came in bursts, shares are off"));
        }
    }
    Ok(notes)
}

/// What two recordings are compared by, with what is to be known of it: `wanted`; or shares, where nothing else was asked for
/// and one of them has lower bounds only.
///
/// # Errors
/// When amounts were asked for that one of them does not have.
pub fn by(recordings: [&Recording; 2], names: [&str; 2], wanted: Per) -> anyhow::Result<(Per, Option<String>)> {
    if wanted == Per::All {
        return Ok((wanted, None));
    }
    let mut uncertain = None;
    for (recording, name) in recordings.into_iter().zip(names) {
        let Some(epochs) = Epochs::new(&recording.about) else { continue };
        match (epochs.unbounded, wanted) {
            (Some(because), Per::Unit(_)) => bail!(
                "{name} has lower bounds only, which cannot be compared by units of work: {}; compare --shares, or record \
                 both with a larger --max-overhead",
                shown::reason(because)
            ),
            (Some(because), _) => {
                let reason = shown::reason(because);
                return Ok((Per::All, Some(format!("shares are compared, not amounts: in {name} {reason}"))));
            }
            (None, _) if epochs.spread > NOTABLE_SPREAD => {
                uncertain = Some(format!(
                    "amounts of {name} hang on what a trap costs, since probes made the program {}, and only large changes \
                     of them can be told from chance; --shares compares what does not hang on it",
                    shown::slower(epochs.slowdown)
                ));
            }
            (None, _) => {}
        }
    }
    Ok((wanted, uncertain))
}

fn kind(source: Source) -> &'static str {
    match source {
        Source::Allocations => "allocations",
        Source::Cpu => "CPU time",
        Source::PageFaults => "page faults",
        Source::Mmap => "mapped memory",
        Source::Brk => "growth of the heap",
    }
}

/// The option that says how far apart samples are.
fn option(source: Source) -> &'static str {
    if source == Source::Cpu { "--frequency" } else { "--interval" }
}

/// What gives more samples.
fn more_often(source: Source) -> &'static str {
    if source == Source::Cpu { "higher --frequency" } else { "smaller --interval" }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn largest_interval(recording: &Recording) -> Option<u64> {
    recording.samples.iter().map(|sample| sample.interval).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        recording::about::{Cost, Counter, Epoch, Window},
        synthetic::program,
    };

    fn checked(change: impl FnOnce(&mut Recording)) -> Result<String, String> {
        let before = program::recording();
        let mut after = before.clone();
        after.samples.pop();
        change(&mut after);
        match check([&before, &after], ["a.pb.gz", "b.pb.gz"]) {
            Ok(notes) => Ok(notes.join("; ")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn what_cannot_be_compared_is_an_error() {
        let error = checked(|after| after.about.source = Source::Cpu).unwrap_err();
        assert_eq!(error, "a.pb.gz has samples of allocations, b.pb.gz of CPU time; compare recordings of one kind");
        let error = checked(|after| after.samples.clear()).unwrap_err();
        assert!(error.starts_with("b.pb.gz has no samples"), "{error}");
        let error = checked(|after| after.about.duration_ns = 0).unwrap_err();
        assert!(error.starts_with("b.pb.gz has no length"), "{error}");
    }

    /// Windows with a millisecond of CPU time and so many hits of 500 (400 to 600) ns in them.
    fn in_windows(hits: u64, cost: Option<Cost>) -> Recording {
        let window =
            Window { length_ns: 1_000_000, cpu_ns: 1_000_000, hits, calls: hits, bytes: hits, ..Window::default() };
        let (length_ns, cpu_ns) = (1_000_000_000, 1_000_000_000);
        let epoch = Epoch { length_ns, probability: 0.001, cpu_ns, window, ..Epoch::default() };
        let mut recording = program::recording();
        (recording.about.epochs, recording.about.cost) = (vec![epoch; 10], cost);
        recording
    }

    #[test]
    fn cpu_time_is_compared_with_its_own_options() {
        let of_cpu = |recording: &mut Recording, period_ns| {
            recording.about.source = Source::Cpu;
            recording.samples.iter_mut().for_each(|sample| sample.interval = period_ns);
        };
        let (mut before, mut after) = (program::recording(), program::recording());
        of_cpu(&mut before, 1_000_000);
        of_cpu(&mut after, 10_000_000);
        let notes = check([&before, &after], ["a.pb.gz", "b.pb.gz"]).unwrap().join("; ");
        assert!(
            notes.contains("samples are 1 per 1 ms of CPU time before and 1 per 10 ms of CPU time after"),
            "{notes}"
        );
        assert!(notes.ends_with("use one --frequency"), "{notes}");
        after.samples.clear();
        let error = check([&before, &after], ["a.pb.gz", "b.pb.gz"]).unwrap_err().to_string();
        assert!(error.ends_with("record longer, or with a higher --frequency"), "{error}");
    }

    #[test]
    fn shares_are_compared_where_there_are_lower_bounds() {
        let (exact, bounded) = (program::recording(), in_windows(100, None));
        let names = ["a.pb.gz", "b.pb.gz"];
        let (per, note) = by([&exact, &bounded], names, Per::Second).unwrap();
        assert_eq!(per, Per::All);
        let note = note.unwrap();
        assert!(
            note.starts_with("shares are compared, not amounts: in b.pb.gz what a trap costs is not known"),
            "{note}"
        );
        let error = by([&exact, &bounded], names, Per::Unit([1.0; 2])).unwrap_err().to_string();
        assert!(error.starts_with("b.pb.gz has lower bounds only") && error.contains("--shares"), "{error}");
        assert_eq!(by([&exact, &bounded], names, Per::All).unwrap(), (Per::All, None));
        assert_eq!(by([&exact, &exact], names, Per::Second).unwrap(), (Per::Second, None));
    }

    #[test]
    fn amounts_that_hang_on_the_cost_of_a_hit_are_a_note() {
        let cost = Cost { hit_ns: 500.0, hit_ns_low: 400.0, hit_ns_high: 600.0, ..Cost::default() };
        let exact = program::recording();
        let noted = |hits| {
            let recording = in_windows(hits, Some(cost.clone()));
            let (per, note) = by([&recording, &exact], ["a.pb.gz", "b.pb.gz"], Per::Second).unwrap();
            assert_eq!(per, Per::Second);
            note
        };
        assert_eq!(noted(100), None);
        let note = noted(1000).unwrap();
        assert!(note.contains("of a.pb.gz") && note.contains("2.0 times slower (1.7 to 2.5)"), "{note}");
    }

    #[test]
    fn what_is_to_be_known_is_a_note() {
        assert_eq!(checked(|_| {}), Ok(String::new()));
        let note = checked(|after| after.about.process.executable = "/usr/bin/\u{1b}chat".into()).unwrap();
        assert!(note.contains("different programs: /usr/bin/game-server and /usr/bin/\u{fffd}chat"), "{note}");
        let elsewhere = checked(|after| after.about.process.executable = "/opt/new/game-server".into());
        assert_eq!(elsewhere, Ok(String::new()));
        let note = checked(|after| after.samples.iter_mut().for_each(|sample| sample.interval = 1 << 20)).unwrap();
        assert!(note.contains("samples are 1 per 64 KiB before and 1 per 1 MiB after"), "{note}");
        let note = checked(|after| after.about.losses.ring_full = 100).unwrap();
        assert!(note.contains("b.pb.gz has lost 100 samples"), "{note}");
        let before = program::recording();
        assert_eq!(check([&before, &before], ["a", "a"]).unwrap(), ["both are the same recording"]);
    }

    #[test]
    fn a_program_that_allocates_no_more_can_be_compared() {
        let nothing = checked(|after| {
            after.samples.clear();
            after.about.counters = vec![Counter::default()];
            after.about.losses.ring_full = 0;
        });
        assert_eq!(nothing, Ok(String::new()));
    }
}
