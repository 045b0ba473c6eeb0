//! How many instructions the verifier follows in each program of the object.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow};
use tracer::probe::{
    kernel_event::KernelEvent,
    live::LiveOptions,
    programs::{CALIBRATION, Options, Programs},
};
use tracer_ebpf::abi::settings::Settings;

use super::{
    goal::{Goal, Verdict},
    report::Section,
};

/// As in the kernel test `budget`.
const GOAL: u64 = 50_000;
/// What was built, with the names of all programs.
const RECORD: &str = include_str!("../../../../tracer/bpf/tracer.bpf.txt");

/// Loads every program once.
///
/// # Errors
/// When the kernel refuses one, or does not say.
pub fn run(section: &mut Section) -> anyhow::Result<()> {
    let counts = counts()?;
    let rows: Vec<_> = counts.iter().map(|(name, count)| vec![format!("`{name}`"), count.to_string()]).collect();
    section.line("Instructions that the verifier follows in each program:");
    section.table(&["program", "instructions"], &rows);
    let largest = counts.values().copied().max().unwrap_or(0);
    let verdict = Verdict::at_most(largest as f64, GOAL as f64);
    let what = format!("at most {GOAL} instructions are followed in any");
    section.goal(Goal { what, verdict, found: format!("most {largest}, of {} programs", counts.len()) });
    Ok(())
}

/// Of all programs, also of those that a recording loads only when it needs them.
fn counts() -> anyhow::Result<BTreeMap<String, u64>> {
    let settings = Settings { interval: 1 << 19, max_frames: 128, wakeup_bytes: 1 << 20, ..Settings::default() };
    let load = |live, on_demand: &[&'static str]| {
        Programs::load_with(&Options { settings, ring_bytes: 1 << 22, live }, on_demand)
    };
    let mut programs = load(None, &[&CALIBRATION[..], &["libraries_loaded"]].concat())?;
    for event in KernelEvent::ALL {
        programs.attach_event(event)?;
    }
    let mut counts = programs.verified_instructions()?;
    drop(programs);
    // Returns are seen in one way or the other.
    for sessions in [true, false] {
        let live = LiveOptions { blocks: 1024, sessions };
        counts.extend(load(Some(live), &[])?.verified_instructions()?);
    }
    let names = RECORD.lines().filter_map(|line| line.strip_prefix("program ")?.split(' ').next());
    let of = |name: &str| {
        let count = counts.get(name).copied().with_context(|| format!("{name} was not loaded"))?;
        Ok((name.to_owned(), count))
    };
    let all: BTreeMap<_, _> = names.map(of).collect::<anyhow::Result<_>>()?;
    if all.is_empty() { Err(anyhow!("the record names no program")) } else { Ok(all) }
}
