//! Whole tools on one program: this one, and others that are installed.

use std::{
    path::Path,
    process::Command,
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

const ROUNDS: usize = 5;
const LIMIT: Duration = Duration::from_secs(75);
/// With what is always there, ten frames.
const DEPTH: u32 = 5;
/// How long a tool may take to attach.
const PATIENCE: Duration = Duration::from_secs(20);
/// For what a tool does at first: tracer finds its interval.
const SETTLING: Duration = Duration::from_millis(300);
/// One pair in this time is 100,000 in a second.
const PACE_NS: f64 = 10_000.0;
/// A probe makes a pair of malloc and free slower by much more than this.
const ATTACHED: f64 = 5.0;

struct Tool {
    name: String,
    command: Option<Box<dyn Fn(u32) -> Command>>,
}

/// Measures a loop of malloc and free under each tool.
///
/// # Errors
/// When a tool is there and does not attach.
pub fn run(section: &mut Section) -> anyhow::Result<()> {
    // Frame pointers kept: the others need them.
    let mut target = Target::start(FramePointers::Kept)?;
    let load = |pairs, work| Load { depth: DEPTH, pairs, work };
    let bare = target.run(load(100_000, 0))?;
    let step = target.run(load(1_000, 10_000))? / 10_000.0;
    let work = ((PACE_NS - bare) / step) as u32;

    let folder = folder()?;
    let tools = tools(&folder)?;
    let mut paced = vec![Vec::new(); tools.len()];
    let rounds = interleave(tools.len(), ROUNDS, LIMIT, |arm| {
        let tool = tools.get(arm).context("no such tool")?;
        let running = tool.command.as_ref().map(|command| {
            let mut running = Background::start(&mut command(target.pid()), &folder.join("tool.log"))?;
            let start = Instant::now();
            while target.run(load(1_000, 0))? < bare * ATTACHED {
                running.expect_running()?;
                if start.elapsed() > PATIENCE {
                    bail!("{} does not attach; it wrote:\n{}", tool.name, running.output()?);
                }
                thread::sleep(Duration::from_millis(20));
            }
            thread::sleep(SETTLING);
            Ok(running)
        });
        let running = running.transpose()?;
        let flat_out = target.run(load(20_000, 0))?;
        let at_pace = target.run(load(10_000, work))?;
        if let Some(times) = paced.get_mut(arm) {
            times.push(at_pace);
        }
        if let Some(running) = running {
            running.stop()?;
        }
        Ok(flat_out)
    })?;
    let slowdown = |arm: usize| {
        let (none, times) = (paced.first()?, paced.get(arm)?);
        Some(Spread::of(times.iter().zip(none).map(|(time, none)| time / none)))
    };
    let rows = tools.iter().enumerate().map(|(arm, tool)| {
        vec![
            tool.name.clone(),
            Spread::of(rounds.each(|ns| ns[arm])).digits(0),
            Spread::of(rounds.each(|ns| ns[arm] / ns[0])).digits(1),
            slowdown(arm).map_or(String::new(), |slowdown| slowdown.to_string()),
        ]
    });
    section.line(
        "A loop of `malloc(64)` and `free` at the bottom of ten frames, as fast as it goes and with other work between so \
         that it makes 100,000 pairs in a second of its CPU time:",
    );
    let head = ["tool", "ns for a pair", "slowdown, nothing else", "slowdown at 100,000/s"];
    section.table(&head, &rows.collect::<Vec<_>>());
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
        Tool { name: "none".into(), command: None },
        Tool { name: "tracer".into(), command: Some(Box::new(record("auto"))) },
        Tool { name: "tracer, a stack for every allocation".into(), command: Some(Box::new(record("1"))) },
    ];
    if is_installed("bpftrace") {
        tools.push(Tool { name: "bpftrace, `@[ustack] = sum(arg0)`".into(), command: Some(Box::new(bpftrace)) });
    } else {
        eprintln!("skipped: bpftrace is not installed");
    }
    match perf(folder) {
        Ok(command) => {
            let name = "perf record, a stack for every allocation".into();
            tools.push(Tool { name, command: Some(Box::new(command)) });
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

/// Makes the probe, which stays until it is deleted or the machine restarts.
fn perf(folder: &Path) -> anyhow::Result<impl Fn(u32) -> Command + use<>> {
    const EVENT: &str = "probe_tracer_bench:malloc";
    if !is_installed("perf") {
        bail!("perf is not installed");
    }
    // It may be there from before.
    exec::capture(Command::new("perf").args(["probe", "--quiet", "--del", EVENT])).ok();
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
