//! What tools do to a loop of malloc and free: as fast as it goes, and with other work between.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{
    attachment::{Attachment, c_library},
    failures::Failures,
    goal::{Goal, Verdict},
    interleave::interleave,
    report::Section,
    scale::Scale,
    spread::Spread,
    target::{FramePointers, Load, Target, folder},
    tools::{BPFTRACE_LEAKS, BPFTRACE_SUM, Inside, MEMLEAK, TRACER, TRACER_ALWAYS, TRACER_LIVE, Tools, insides},
};

const ROUNDS: usize = 7;
const LIMIT: Duration = Duration::from_secs(4 * 60);
/// For tools that follow blocks.
const LIMIT_FOLLOWING: Duration = Duration::from_secs(2 * 60);
/// With what is always there, about ten frames.
const DEPTH: u32 = 5;
/// Of wall time, for each load.
const READING: Duration = Duration::from_millis(700);
/// The same with a tool that is on and off by turns: several of its epochs.
const READING_WINDOWS: Duration = Duration::from_secs(3);
const READING_BARE: Duration = Duration::from_millis(400);
/// Between two readings of the clock.
const CHUNK_NS: f64 = 10e6;
/// Pairs of malloc and free in a second of CPU time; nothing else than those, first.
const PACES: [Option<f64>; 3] = [None, Some(1e6), Some(1e5)];

/// Nanoseconds of CPU time for a pair, at each pace.
type Cost = [f64; PACES.len()];

/// How many times as much the second adds to a pair as the first, at least.
type Ratio = (&'static str, &'static str, f64);

const SAMPLING: [Ratio; 2] = [(TRACER_ALWAYS, BPFTRACE_SUM, 1.8), (TRACER_ALWAYS, MEMLEAK, 8.0)];
const FOLLOWING: [Ratio; 2] = [(TRACER_LIVE, MEMLEAK, 4.0), (TRACER_LIVE, BPFTRACE_LEAKS, 4.0)];

/// Measures the loop under each tool.
///
/// # Errors
/// When the loop does not run.
pub fn run(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    compare(section, scale, &Tools::find()?, &insides(&folder()?), &SAMPLING, LIMIT)
}

/// Measures it under tools that follow blocks to their release.
///
/// # Errors
/// As [`run`].
pub fn following(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    let mut tools = Tools::find()?;
    tools.tools.retain(|tool| [TRACER_LIVE, MEMLEAK, BPFTRACE_LEAKS].contains(&tool.name));
    compare(section, scale, &tools, &(Vec::new(), Vec::new()), &FOLLOWING, LIMIT_FOLLOWING)
}

fn compare(
    section: &mut Section,
    scale: Scale,
    tools: &Tools,
    (insides, missing): &(Vec<Inside>, Vec<&str>),
    ratios: &[Ratio],
    limit: Duration,
) -> anyhow::Result<()> {
    // Frame pointers kept: the others need them.
    let mut target = Target::start(FramePointers::Kept)?;
    let loads = loads(&mut target)?;
    let attachment = Attachment::new(target.pid(), &c_library())?;
    let bare = scale.time(READING_BARE);

    let mut failures = Failures::default();
    let mut costs: Vec<Vec<(Cost, Cost)>> = vec![Vec::new(); tools.tools.len() + insides.len()];
    let rounds = interleave(costs.len(), scale.rounds(ROUNDS), limit, |arm| {
        let pair = match tools.tools.get(arm) {
            Some(tool) => failures.or_none(tool.name, || {
                attachment.wait(false, || Ok(()))?;
                let before = measure(&mut target, loads, bare)?;
                let running = tools.watch(tool, target.pid(), &attachment)?;
                let reading = if tool.name == TRACER { READING_WINDOWS } else { READING };
                let with = measure(&mut target, loads, scale.time(reading))?;
                // Not asked to end: what it would still print is of no interest.
                drop(running);
                Ok((before, with))
            }),
            None => {
                let tool = insides.get(arm - tools.tools.len()).context("no such tool")?;
                failures.or_none(tool.name, || inside(tool, loads, bare))
            }
        };
        costs[arm].extend(pair);
        Ok(0.0)
    })?;

    section.line(&format!(
        "A loop of `malloc(64)` and `free` at the bottom of about ten frames: as fast as it goes, and with other work between so \
         that it makes 1,000,000 and 100,000 pairs in a second of its CPU time; {} rounds. Slowdowns are of CPU time, against \
         the same program just before the tool is started.",
        rounds.len()
    ));
    let names = tools.tools.iter().map(|tool| tool.name).chain(insides.iter().map(|inside| inside.name));
    let rows: Vec<Vec<String>> = names
        .zip(&costs)
        .map(|(name, costs)| {
            let slowdown = |pace: usize| Spread::of(costs.iter().map(|(before, with)| with[pace] / before[pace]));
            vec![
                name.to_owned(),
                Spread::of(costs.iter().map(|(before, with)| with[0] - before[0])).digits(0),
                slowdown(0).digits(1),
                slowdown(1).to_string(),
                slowdown(2).to_string(),
            ]
        })
        .collect();
    section.table(&["tool", "ns added to a pair", "slowdown, nothing else", "at 1,000,000/s", "at 100,000/s"], &rows);
    goals(section, tools, &costs, ratios);
    failures.tell(section);
    tools.name_absent(section);
    if !missing.is_empty() {
        section.line(&format!("Not installed: {}.", missing.join("; ")));
    }
    Ok(())
}

/// How much cheaper a call is than with others, in the same round.
fn goals(section: &mut Section, tools: &Tools, costs: &[Vec<(Cost, Cost)>], ratios: &[Ratio]) {
    let added = |name: &str| {
        let costs = costs.get(tools.tools.iter().position(|tool| tool.name == name)?)?;
        Some(costs.iter().map(|(before, with)| with[0] - before[0]).collect::<Vec<f64>>())
    };
    for &(own_name, name, goal) in ratios {
        let what = format!("what {name} adds to a pair is at least {goal} times what {own_name} adds");
        section.goal(match (added(own_name), added(name)) {
            (Some(own), Some(other)) => {
                Goal::at_least(what, Spread::of(other.iter().zip(&own).map(|(other, own)| other / own)), goal)
            }
            _ => Goal { what, verdict: Verdict::NotMeasured, found: "a tool is absent".into() },
        });
    }
}

/// The loads that make these paces in a target.
fn loads(target: &mut Target) -> anyhow::Result<[Load; PACES.len()]> {
    let load = |pairs, work| Load { depth: DEPTH, pairs, work };
    let bare = target.run(load(100_000, 0))?;
    let step = target.run(load(1_000, 10_000))? / 10_000.0;
    Ok(PACES.map(|pace| load(1, pace.map_or(0, |pace| ((1e9 / pace - bare) / step).max(0.0) as u32))))
}

/// CPU time for a pair at each pace.
fn measure(target: &mut Target, loads: [Load; PACES.len()], reading: Duration) -> anyhow::Result<Cost> {
    let mut cost = Cost::default();
    for (cost, load) in cost.iter_mut().zip(loads) {
        let (start, mut pairs, mut time) = (Instant::now(), 0.0, 0.0);
        let mut each = target.run(Load { pairs: 200, ..load })?;
        while start.elapsed() < reading {
            let chunk = (CHUNK_NS / each).clamp(100.0, 1e6) as u32;
            each = target.run(Load { pairs: chunk, ..load })?;
            pairs += f64::from(chunk);
            time += each * f64::from(chunk);
        }
        *cost = time / pairs;
    }
    Ok(cost)
}

/// The loop without and with a tool that works inside it.
fn inside(tool: &Inside, loads: [Load; PACES.len()], reading: Duration) -> anyhow::Result<(Cost, Cost)> {
    let bare =
        tool.bare.as_ref().map(|library| Inside { preload: library.clone(), variables: Vec::new(), ..tool.clone() });
    let mut target = match &bare {
        Some(bare) => Target::start_inside(FramePointers::Kept, bare)?,
        None => Target::start(FramePointers::Kept)?,
    };
    let before = measure(&mut target, loads, reading)?;
    drop(target);
    let with = measure(&mut Target::start_inside(FramePointers::Kept, tool)?, loads, reading)?;
    Ok((before, with))
}
