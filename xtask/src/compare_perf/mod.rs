//! `cargo xtask compare-perf`: the reference game server under load, sampled by `tracer cpu` and by `perf record --call-graph dwarf`
//! at the same time. Both must find the same functions, within the error that sampling has.

mod aliases;
mod samples;
mod verdict;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};

use self::{aliases::Aliases, samples::Samples, verdict::Comparison};
use crate::{
    demo::{
        background::Background,
        build_tracer,
        loaded_server::{Load, LoadedServer},
    },
    exec, workspace,
};

/// Ticks a second, for both.
const FREQUENCY: u32 = 99;
/// Stacks that must lead to the thread's start.
const COMPLETE: f64 = 0.99;

/// Samples the reference game server by `tracer cpu` and by perf, and compares what they find. As root.
#[derive(clap::Args)]
pub struct Options {
    /// How long to sample.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Games at a time, two connections each.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    games: u32,
}

/// Runs it.
///
/// # Errors
/// When a function's share differs by more than chance explains, when too many stacks are incomplete, or when something does not
/// run.
pub fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(workspace::is_root(), "perf and tracer sample other users' processes: run it as root");
    exec::capture(Command::new("perf").arg("--version")).context("perf is missing: apt-get install linux-perf")?;
    let tracer = build_tracer()?;
    let directory = workspace::target_dir()?.join("compare-perf");
    let server = LoadedServer::start(Load::together(options.games), &directory)?;
    let (of_tracer, of_perf) = sample(&tracer, server.pid(), options.duration, &directory)?;
    server.stop()?;

    let aliases = Aliases::read(of_perf.modules());
    let (of_tracer, of_perf) = (of_tracer.renamed(&aliases), of_perf.renamed(&aliases));
    let complete = 1.0 - of_tracer.truncated() / of_tracer.total();
    eprintln!("samples: tracer {:.0}, perf {:.0}", of_tracer.total(), of_perf.total());
    eprintln!("stacks of tracer that lead to the thread's start: {:.2} %", 100.0 * complete);
    let mut different = 0;
    for (title, comparison) in [
        ("functions by their own time", Comparison::new(&of_tracer.own(), &of_perf.own())),
        ("functions with all that they call", Comparison::new(&of_tracer.inclusive(), &of_perf.inclusive())),
    ] {
        eprintln!("\n{title}\n{comparison}");
        different += comparison.different();
    }
    if complete < COMPLETE {
        bail!("only {:.2} % of the stacks are complete", 100.0 * complete);
    }
    if different > 0 {
        bail!("{different} functions have shares that differ by more than chance explains");
    }
    Ok(())
}

/// Samples a process by both at the same time.
fn sample(tracer: &Path, pid: u32, duration: Duration, directory: &Path) -> anyhow::Result<(Samples, Samples)> {
    let (data, folded) = (directory.join("perf.data"), directory.join("tracer.folded"));
    let seconds = duration.as_secs_f64();
    // On CPUs that count cycles, those would be perf's default.
    let mut perf = Command::new("perf");
    // perf copies stacks of 8 KiB unless told otherwise, and then lacks the beginning of every fourth one of this server.
    perf.args(["record", "-e", "cpu-clock", "--call-graph", "dwarf,65528", "-F", &FREQUENCY.to_string()])
        .args(["-p", &pid.to_string(), "-o"])
        .arg(&data)
        .args(["--", "sleep", &seconds.to_string()]);
    let perf = Background::start(&mut perf, &directory.join("perf.out"))?;
    exec::exec(
        Command::new(tracer)
            .args(["cpu", "--quiet", "--force", "--pid", &pid.to_string(), "--duration", &format!("{seconds}s")])
            .args(["--frequency", &FREQUENCY.to_string(), "-o"])
            .arg(&folded),
    )?;
    perf.wait()?;
    let script =
        exec::capture(Command::new("perf").args(["script", "--no-inline", "-F", "ip,sym,dso", "-i"]).arg(&data))?;
    let text = fs::read_to_string(&folded).with_context(|| format!("cannot read {}", folded.display()))?;
    Ok((Samples::from_folded(&text, f64::from(FREQUENCY))?, Samples::from_perf(&script)))
}

/// Paths of mapped files.
type Modules = Vec<PathBuf>;
