//! `cargo xtask bench`: what a hit, a walk and a picture cost, and what tools do to programs, as ratios, into
//! docs/benchmarks.md.
//!
//! Numbers of a debug build say nothing, and the other tasks need no tracer library: so this task runs xtask again, in
//! release and with the feature `bench`, and that one measures.

#[cfg(feature = "bench")]
mod suite;

/// Measures, and writes what it finds to docs/benchmarks.md.
#[derive(clap::Args)]
pub struct Options {
    /// Only these: budget, bursts, "game server", hit, live, loop, own, programs, redis, render, toggle, unwind.
    names: Vec<String>,
    /// Only try whether they run: little is measured, and docs/benchmarks.md stays as it is.
    #[arg(long)]
    quick: bool,
}

/// Runs the benchmarks.
///
/// # Errors
/// When one fails; a goal that was missed is no error.
#[cfg(feature = "bench")]
pub fn run(options: &Options) -> anyhow::Result<()> {
    suite::run(&options.names, options.quick)
}

/// Runs the benchmarks, in a release build.
///
/// # Errors
/// When it does not build, or when a benchmark fails.
#[cfg(not(feature = "bench"))]
pub fn run(options: &Options) -> anyhow::Result<()> {
    use crate::{exec, workspace};

    let arguments = ["run", "--locked", "--release", "--package", "xtask", "--features", "bench", "--", "bench"];
    let quick = options.quick.then_some("--quick");
    exec::exec(workspace::cargo()?.args(arguments).args(quick).args(&options.names))
}
