//! From the end of a recording to its files: time and memory of each stage.

use std::{collections::BTreeMap, ops::RangeInclusive, path::Path, time::Duration};

use anyhow::ensure;

use super::{
    goal::{Goal, Verdict},
    recordings::{bytes, record},
    report::Section,
    scale::Scale,
    spread::Spread,
    subjects,
};
use crate::demo::build_tracer;

const SAMPLES: u64 = 100_000;
/// Samples of a run that is judged by the goals, which are for [`SAMPLES`].
const JUDGED: RangeInclusive<f64> = 50_000.0..=200_000.0;
const FIRST: Duration = Duration::from_secs(2);
const DURATION: Duration = Duration::from_secs(5);
const RUNS: usize = 4;
/// Windows would leave few samples, and their number to chance.
const ALWAYS: [&str; 2] = ["--max-overhead", "none"];
const GOAL_MS: f64 = 2000.0;
const GOAL_MIB: f64 = 300.0;
const GOAL_DISCOVER_MS: f64 = 300.0;
/// Stages before the recording begins.
const BEFORE: [&str; 3] = ["load", "discover", "attach"];

/// Records and renders node and the game server.
///
/// # Errors
/// When a target or tracer fails.
pub fn run(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    let tracer = build_tracer()?;
    section.line(&format!(
        "Recordings of about {SAMPLES} samples in {} s, with probes in all the time. Memory is the most that tracer had in the stage.",
        DURATION.as_secs()
    ));
    subjects::each(section, scale, |section, name, pid| measure(section, scale, name, &tracer, pid))?;
    Ok(())
}

/// What a stage cost.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    ms: f64,
    cpu_ms: f64,
    mib: f64,
}

type Stages = BTreeMap<String, Cost>;

fn measure(section: &mut Section, scale: Scale, name: &str, tracer: &Path, pid: u32) -> anyhow::Result<()> {
    let longer = DURATION.as_secs_f64() / FIRST.as_secs_f64();
    let (first, _) = record(tracer, pid, FIRST, "auto", &ALWAYS)?;
    let interval = (bytes(&first) as f64 * longer / SAMPLES as f64).max(1.0);
    // A program that is sampled so often is slower than before, and allocates less.
    let (second, _) = record(tracer, pid, FIRST, &(interval as u64).to_string(), &ALWAYS)?;
    let interval = (interval * second.samples.len() as f64 * longer / SAMPLES as f64).max(1.0);
    let interval = (interval as u64).to_string();

    let (mut runs, mut order, mut samples, mut stacks, mut readers) = (Vec::new(), Vec::new(), vec![], vec![], vec![]);
    for _ in 0..scale.rounds(RUNS) {
        let (recording, said) = record(tracer, pid, DURATION, &interval, &ALWAYS)?;
        samples.push(recording.samples.len() as f64);
        stacks.push(recording.stacks.len() as f64);
        let (names, stages, reader) = stages(&said);
        ensure!(!stages.is_empty(), "tracer says nothing of its stages:\n{said}");
        (order, readers) = (names, [readers, vec![reader]].concat());
        runs.push(stages);
    }
    let stage = |name: &str, number: fn(&Cost) -> f64| {
        Spread::of(runs.iter().filter_map(|run: &Stages| run.get(name).map(number)))
    };
    let after = |number: fn(&Cost) -> f64| {
        let stages = |run: &Stages| {
            run.iter().filter(|(name, _)| !BEFORE.contains(&name.as_str())).map(|(_, cost)| number(cost)).sum()
        };
        Spread::of(runs.iter().map(stages))
    };
    let largest = |run: &Stages| run.values().map(|cost| cost.mib).fold(0.0, f64::max);
    let most = Spread::of(runs.iter().map(largest));
    let row = |name: String, costs: [Spread; 3]| [vec![name], costs.map(|cost| cost.digits(0)).to_vec()].concat();
    let mut rows: Vec<_> = order
        .iter()
        .map(|name| row(name.clone(), [stage(name, |c| c.ms), stage(name, |c| c.cpu_ms), stage(name, |c| c.mib)]))
        .collect();
    let total = after(|cost| cost.ms);
    rows.push(row("**from the end to all files**".into(), [total, after(|cost| cost.cpu_ms), most]));
    rows.push(vec![
        "largest reader of symbols, a process of its own".into(),
        String::new(),
        String::new(),
        Spread::of(readers.iter().copied()).digits(0),
    ]);
    let together = Spread::of(runs.iter().zip(&readers).map(|(run, reader)| largest(run) + reader));
    rows.push(vec!["**both**".into(), String::new(), String::new(), together.digits(0)]);
    let found = Spread::of(samples.iter().copied()).digits(0);
    section.line(&format!(
        "{name}: {found} samples, {} distinct stacks, {} runs.",
        Spread::of(stacks).digits(0),
        runs.len()
    ));
    section.table(&["stage", "ms", "ms of CPU", "MiB"], &rows);
    let in_time = format!("{name}: files within {GOAL_MS:.0} ms");
    let in_memory = format!("{name}: at most {GOAL_MIB:.0} MiB, with the largest reader");
    if are_judged(&samples) {
        section.goal(Goal::at_most(in_time, total, GOAL_MS));
        section.goal(Goal::at_most(in_memory, together, GOAL_MIB));
    } else {
        for what in [in_time, in_memory] {
            let found = format!("{found} samples, not about {SAMPLES}");
            section.goal(Goal { what, verdict: Verdict::NotMeasured, found });
        }
    }
    let discover = stage("discover", |cost| cost.ms);
    section.goal(Goal::at_most(
        format!("{name}: discovered within {GOAL_DISCOVER_MS:.0} ms"),
        discover,
        GOAL_DISCOVER_MS,
    ));
    Ok(())
}

/// Whether every run had about as many samples as the goals are for.
fn are_judged(samples: &[f64]) -> bool {
    !samples.is_empty() && samples.iter().all(|samples| JUDGED.contains(samples))
}

/// Reads the lines `stage NAME MS ms, MS ms CPU, MIB MiB at most`: names in order, costs, and MiB of the largest confined reader.
fn stages(said: &str) -> (Vec<String>, Stages, f64) {
    let (mut order, mut costs, mut readers) = (Vec::new(), Stages::new(), f64::NAN);
    for line in said.lines().filter_map(|line| line.strip_prefix("stage ")) {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            [name, ms, "ms,", cpu_ms, "ms", "CPU,", mib, "MiB", "at", "most"] => {
                if let (Ok(ms), Ok(cpu_ms), Ok(mib)) = (ms.parse(), cpu_ms.parse(), mib.parse()) {
                    order.push((*name).to_owned());
                    costs.insert((*name).to_owned(), Cost { ms, cpu_ms, mib });
                }
            }
            ["(confined", "readers:", mib, ..] => readers = mib.parse().unwrap_or(f64::NAN),
            _ => {}
        }
    }
    (order, costs, readers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_with_other_numbers_of_samples_are_not_judged() {
        assert!(are_judged(&[50_000.0, 123_456.0, 200_000.0]));
        assert!(!are_judged(&[100_000.0, 8_674.0]));
        assert!(!are_judged(&[1_335_006.0]));
        assert!(!are_judged(&[]));
    }

    #[test]
    fn stages_are_read_as_tracer_writes_them() {
        let said =
            "stage     scan 1.5 ms, 1.2 ms CPU, 20 MiB at most\nother\nstage     (confined readers: 70 MiB at most)\n";
        let (order, costs, readers) = stages(said);
        assert_eq!(order, ["scan"]);
        assert_eq!(costs["scan"], Cost { ms: 1.5, cpu_ms: 1.2, mib: 20.0 });
        assert_eq!(readers, 70.0);
    }
}
