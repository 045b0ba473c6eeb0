//! `cargo xtask soak`: tracer follows the blocks of a program that allocates all the time, for long enough to see whether its
//! memory stays bounded and its numbers stay right.

mod memory;
mod outcome;
mod trend;
mod watch;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use self::{memory::Memory, outcome::Outcome};
use crate::{
    demo::{background::die_with_parent, build_tracer},
    exec, workspace,
};

/// Records a program at high churn with --live, with so few blocks that samples must be thinned over and over; shows whether
/// tracer's memory stays flat, and holds its estimates against what the program says. Needs root
#[derive(clap::Args)]
pub struct Options {
    /// How long.
    #[arg(long, default_value = "20m", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Allocations a second, each with a release.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    pairs: u32,
    /// Sampled blocks that are followed at once, at most.
    #[arg(long, default_value_t = 16384, value_parser = clap::value_parser!(u32).range(1024..=1 << 22))]
    live_blocks: u32,
    /// Mean bytes between samples, at first.
    #[arg(long, default_value = "2KiB")]
    interval: String,
}

/// Samples of released blocks for each that is followed, so that those are thinned over and over too.
const RELEASED: u32 = 4;

/// Runs it and prints what came out.
///
/// # Errors
/// When something does not build or run, or tracer's memory grows.
pub fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(workspace::is_root(), "tracer needs root, and is to be watched itself: sudo cargo xtask soak");
    let tracer = build_tracer()?;
    let folder = workspace::target_dir()?.join("soak");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let churn = compile(&folder)?;
    let (truth, recorded) = (folder.join("truth"), folder.join("live.json"));
    let mut command = Command::new(tracer);
    command.args(["--live", "--force", "--quiet", "--interval", &options.interval]);
    command.args(["--live-blocks", &options.live_blocks.to_string()]);
    command
        .args(["--max-samples", &(options.live_blocks * RELEASED).to_string()])
        .arg("-o")
        .arg(&recorded)
        .arg("--")
        .arg(churn);
    command.args([options.duration.as_secs_f64().to_string(), options.pairs.to_string()]).arg(&truth);
    command.stdin(Stdio::null());
    die_with_parent(&mut command);
    eprintln!("{command:?}");

    let readings = watch::until_end(&mut command, options.duration)?;
    let outcome = Outcome::read(&recorded, &truth)?;
    let memory = Memory::of(&readings, options.duration);
    write!(io::stdout(), "{outcome}{}", memory.as_ref().map(ToString::to_string).unwrap_or_default())?;
    let memory = memory.context("too short a run to say anything of memory")?;
    ensure!(!memory.grows(), "tracer's memory grows");
    Ok(())
}

fn compile(folder: &Path) -> anyhow::Result<PathBuf> {
    let (root, program) = (workspace::root()?, folder.join("churn"));
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-g", "-pthread", "-I"]).arg(root.join("tracer/tests/kernel/programs"));
    exec::exec(gcc.arg("-o").args([&program, &root.join("xtask/src/soak/churn.c")]))?;
    Ok(program)
}
