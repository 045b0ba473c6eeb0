//! Whole tools on one program: this one, and others that are installed.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{
    interleave::interleave,
    report::Section,
    spread::Spread,
    target::{FramePointers, Load, Target, folder, is_installed},
};
use crate::{
    demo::{background::Background, build_tracer},
    exec,
};

const ROUNDS: usize = 9;
/// Of each load, in a round.
const READINGS: usize = 3;
const LIMIT: Duration = Duration::from_secs(75);
/// With what is always there, about ten frames.
const DEPTH: u32 = 5;
/// How long a tool may take to attach.
const PATIENCE: Duration = Duration::from_secs(20);
/// For what a tool does at first: tracer finds its interval.
const SETTLING: Duration = Duration::from_millis(300);
/// One pair in this time is 100,000 in a second.
const PACE_NS: f64 = 10_000.0;
/// A probe makes a pair of malloc and free slower by much more than this.
const ATTACHED: f64 = 5.0;

/// A tool, and how it is started for a process.
pub struct Tool {
    /// What it is called.
    pub name: String,
    /// Its command line.
    pub command: Box<dyn Fn(u32) -> Command>,
}

/// Measures a loop of malloc and free under each tool.
///
/// # Errors
/// When a tool is there and does not attach.
pub fn run(section: &mut Section) -> anyhow::Result<()> {
    let folder = folder()?;
    let tools = tools(&folder)?;
    let done = compare(section, &folder, &tools);
    delete_event();
    done.map(drop)
}

/// Measures a loop of malloc and free under each of these tools. The median cost of a pair under each, in nanoseconds.
///
/// # Errors
/// When a tool does not attach.
pub fn compare(section: &mut Section, folder: &Path, tools: &[Tool]) -> anyhow::Result<Vec<f64>> {
    // Frame pointers kept: the others need them.
    let mut target = Target::start(FramePointers::Kept)?;
    let load = |pairs, work| Load { depth: DEPTH, pairs, work };
    let bare = target.run(load(100_000, 0))?;
    let step = target.run(load(1_000, 10_000))? / 10_000.0;
    let work = ((PACE_NS - bare) / step) as u32;

    let loads = [load(20_000, 0), load(10_000, work)];

    let mut costs = vec![Vec::new(); tools.len()];
    let mut none = Vec::new();
    interleave(tools.len(), ROUNDS, LIMIT, |arm| {
        let tool = tools.get(arm).context("no such tool")?;
        // What the last tool left behind must be gone.
        wait_until("the probes of the last tool to go", || Ok(target.run(load(1_000, 0))? < bare * ATTACHED))?;
        let before = Cost::measure(&mut target, loads)?;
        none.push(before);
        let mut running = Background::start(&mut (tool.command)(target.pid()), &folder.join("tool.log"))?;
        wait_until(&format!("{} to attach", tool.name), || {
            running.expect_running()?;
            Ok(target.run(load(1_000, 0))? > bare * ATTACHED)
        })?;
        thread::sleep(SETTLING);
        target.run(load(100_000, 0))?;
        let with = Cost::measure(&mut target, loads)?;
        running.expect_running()?;
        if let Some(costs) = costs.get_mut(arm) {
            costs.push((before, with));
        }
        // Not asked to end: what it would still print is of no interest.
        drop(running);
        Ok(with.flat_out)
    })?;
    let mut rows = vec![vec![
        "none".to_owned(),
        Spread::of(none.iter().map(|cost| cost.flat_out)).digits(0),
        "1".to_owned(),
        "1".to_owned(),
    ]];
    rows.extend(tools.iter().zip(&costs).map(|(tool, costs)| {
        vec![
            tool.name.clone(),
            Spread::of(costs.iter().map(|(_, with)| with.flat_out)).digits(0),
            Spread::of(costs.iter().map(|(before, with)| with.flat_out / before.flat_out)).digits(0),
            Spread::of(costs.iter().map(|(before, with)| with.at_pace / before.at_pace)).to_string(),
        ]
    }));
    section.line(&format!(
        "A loop of `malloc(64)` and `free` at the bottom of about ten frames, as fast as it goes and with other work between so \
         that it makes 100,000 pairs in a second of its CPU time; {} rounds. Slowdowns are against the same program just \
         before the tool is started.",
        costs.iter().map(Vec::len).max().unwrap_or(0)
    ));
    section.table(&["tool", "ns for a pair", "slowdown, nothing else", "slowdown at 100,000/s"], &rows);
    Ok(costs.iter().map(|costs| Spread::of(costs.iter().map(|(_, with)| with.flat_out)).median).collect())
}

/// CPU time for a pair, in nanoseconds.
#[derive(Clone, Copy)]
struct Cost {
    flat_out: f64,
    at_pace: f64,
}

impl Cost {
    /// The medians of a few readings, taken in turn.
    fn measure(target: &mut Target, [flat_out, at_pace]: [Load; 2]) -> anyhow::Result<Self> {
        let mut readings = (Vec::new(), Vec::new());
        for _ in 0..READINGS {
            readings.0.push(target.run(flat_out)?);
            readings.1.push(target.run(at_pace)?);
        }
        Ok(Self { flat_out: Spread::of(readings.0).median, at_pace: Spread::of(readings.1).median })
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = Instant::now();
    while !is_so()? {
        if start.elapsed() > PATIENCE {
            bail!("waited {} s in vain for {what}", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn tools(folder: &Path) -> anyhow::Result<Vec<Tool>> {
    let tracer = build_tracer()?;
    let output = folder.join("peers.folded");
    let record = move |interval: &'static str| {
        let (tracer, output) = (tracer.clone(), output.clone());
        move |pid: u32| {
            let mut command = Command::new(&tracer);
            command.args(["--pid", &pid.to_string(), "--interval", interval, "--quiet", "--force", "-o"]).arg(&output);
            command
        }
    };
    let mut tools = vec![
        Tool { name: "tracer".into(), command: Box::new(record("auto")) },
        Tool { name: "tracer, a stack for every allocation".into(), command: Box::new(record("1")) },
    ];
    if is_installed("bpftrace") {
        tools.push(Tool { name: "bpftrace, `@[ustack] = sum(arg0)`".into(), command: Box::new(bpftrace) });
    } else {
        eprintln!("skipped: bpftrace is not installed");
    }
    match perf(folder) {
        Ok(command) => {
            let name = "perf record, a stack for every allocation".into();
            tools.push(Tool { name, command: Box::new(command) });
        }
        Err(error) => eprintln!("skipped: perf on a probe: {error:#}"),
    }
    Ok(tools)
}

fn bpftrace(pid: u32) -> Command {
    let mut command = Command::new("bpftrace");
    let script = "uprobe:/lib/x86_64-linux-gnu/libc.so.6:malloc { @[ustack] = sum(arg0); }";
    command.args(["-p", &pid.to_string(), "-e", script]);
    command
}

const EVENT: &str = "probe_tracer_bench:malloc";

/// It is not there where perf is not, or when nobody made it.
fn delete_event() {
    Command::new("perf").args(["probe", "--quiet", "--del", EVENT]).stderr(Stdio::null()).status().ok();
}

/// Makes the event, which stays until it is deleted or the machine restarts.
fn perf(folder: &Path) -> anyhow::Result<impl Fn(u32) -> Command + use<>> {
    if !is_installed("perf") {
        bail!("perf is not installed");
    }
    // It may be there from before.
    delete_event();
    let add =
        ["probe", "--quiet", "-x", "/lib/x86_64-linux-gnu/libc.so.6", "--add", "probe_tracer_bench:malloc=malloc"];
    exec::capture(Command::new("perf").args(add))?;
    let data = folder.join("perf.data");
    Ok(move |pid: u32| {
        let mut command = Command::new("perf");
        command.args(["record", "--call-graph", "fp", "-e", EVENT, "-p", &pid.to_string(), "-o"]).arg(&data);
        command
    })
}
