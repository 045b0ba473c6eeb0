//! What tracer itself takes while it records: CPU time and memory.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{
    cpu_clock::cpu_time,
    goal::Goal,
    recordings::{begin, bytes, read, record},
    report::Section,
    scale::Scale,
    spread::Spread,
    subjects,
    target::folder,
};
use crate::demo::build_tracer;

/// Samples in a second.
const RATE: f64 = 2000.0;
const FIRST: Duration = Duration::from_secs(2);
/// From the first breakpoint: tables are built and tracer has found its pace.
const SETTLING: Duration = Duration::from_secs(2);
const READING: Duration = Duration::from_secs(8);
const RUNS: usize = 3;
/// Percent of a core.
const GOAL_CPU: f64 = 1.0;
const GOAL_MIB: f64 = 64.0;
const ALWAYS: [&str; 2] = ["--max-overhead", "none"];

/// Records node and the game server.
///
/// # Errors
/// When a target or tracer fails.
pub fn run(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    let tracer = build_tracer()?;
    section.line(&format!(
        "tracer without a budget, at an interval that makes about {RATE:.0} samples a second; its CPU time over {:.0} s in the \
         middle of the recording. Resident memory is from /proc: the most it ever had, most of it while it reads the target's files, and what it has \
         while it records. Kernel memory is that of its BPF maps without unwind tables: buffers, counters.",
        scale.time(READING).as_secs_f64()
    ));
    let rows = subjects::each(section, scale, |_, _, pid| measure(&tracer, pid, scale))?;
    let spread = |runs: &[Own], number: fn(&Own) -> f64| Spread::of(runs.iter().map(number));
    let cells = rows.iter().map(|(name, runs)| {
        vec![
            (*name).to_owned(),
            spread(runs, |own| own.rate).digits(0),
            spread(runs, |own| own.percent).to_string(),
            spread(runs, |own| own.most).digits(1),
            spread(runs, |own| own.resident).digits(1),
            spread(runs, |own| own.kernel).digits(1),
        ]
    });
    let head =
        ["target", "samples a second", "% of a core", "resident at most, MiB", "while it records, MiB", "kernel, MiB"];
    section.table(&head, &cells.collect::<Vec<_>>());
    for (name, runs) in &rows {
        let what = format!("{name}: at most {GOAL_CPU} % of a core");
        section.goal(Goal::at_most(what, spread(runs, |own| own.percent), GOAL_CPU));
        let what = format!("{name}: resident and kernel memory at most {GOAL_MIB} MiB without unwind tables");
        section.goal(Goal::at_most(what, spread(runs, |own| own.most + own.kernel), GOAL_MIB));
    }
    Ok(())
}

/// What a recording took.
struct Own {
    /// Samples in a second.
    rate: f64,
    /// CPU time, in percent of a core.
    percent: f64,
    /// The most resident memory that it had, in MiB.
    most: f64,
    /// Resident memory while it recorded, in MiB.
    resident: f64,
    /// MiB.
    kernel: f64,
}

fn measure(tracer: &Path, pid: u32, scale: Scale) -> anyhow::Result<Vec<Own>> {
    let (first, _) = record(tracer, pid, FIRST, "auto", &ALWAYS)?;
    let interval = (bytes(&first) as f64 / (first.about.duration_ns as f64 / 1e9) / RATE).max(1.0) as u64;
    (0..scale.rounds(RUNS)).map(|_| once(tracer, pid, interval, scale.time(READING))).collect()
}

fn once(tracer: &Path, pid: u32, interval: u64, reading: Duration) -> anyhow::Result<Own> {
    let output = folder()?.join("own.pb.gz");
    let interval = interval.to_string();
    let running = begin(tracer, pid, &[&["--interval", interval.as_str()], ALWAYS.as_slice()].concat(), &output)?;
    thread::sleep(SETTLING);
    let (start, before) = (Instant::now(), cpu_time(running.pid())?);
    thread::sleep(reading);
    let used = (cpu_time(running.pid())? - before) / start.elapsed().as_nanos() as f64;
    let ((most, resident), kernel) = (resident(running.pid())?, kernel(running.pid())?);
    running.stop()?;
    let recording = read(&output)?;
    let seconds = recording.about.duration_ns as f64 / 1e9;
    Ok(Own { rate: recording.samples.len() as f64 / seconds, percent: 100.0 * used, most, resident, kernel })
}

/// The most memory that a process had, and what it has now, in MiB.
fn resident(pid: u32) -> anyhow::Result<(f64, f64)> {
    let status = procfs::process::Process::new(pid.cast_signed())?.status()?;
    let (most, now) = status.vmhwm.zip(status.vmrss).context("tracer has ended")?;
    Ok((most as f64 / 1024.0, now as f64 / 1024.0))
}

/// Memory of the BPF maps that a process holds, in MiB (`bpf_map_show_fdinfo` in kernel/bpf/syscall.c). Unwind tables are in maps
/// that it has handed over to another.
fn kernel(pid: u32) -> anyhow::Result<f64> {
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
        // A descriptor may be closed meanwhile.
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        maps.extend(number("map_id:").zip(number("memlock:")));
    }
    Ok(maps.values().sum::<u64>() as f64 / f64::from(1 << 20))
}
