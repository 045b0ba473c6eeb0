//! `cargo xtask fuzz`: every parser of foreign bytes under libFuzzer, one target after the other.

pub mod program;
mod seeds;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, bail};

use self::program::CargoFuzz;
use crate::{exec, workspace};

/// Memory of one input: what is beyond it counts as a crash.
const MEBIBYTES: u32 = 2048;
/// Seconds for one input: likewise.
const SECONDS: u32 = 20;
/// How long each target runs in CI.
const BRIEF: Duration = Duration::from_secs(20);

/// Fuzzes the parsers of foreign bytes (fuzz/); a crash leaves its input in fuzz/artifacts. Needs cargo-fuzz, which
/// `cargo xtask setup` installs.
#[derive(clap::Args)]
pub struct Options {
    /// Only these targets: the names of the files in fuzz/fuzz_targets.
    targets: Vec<String>,
    /// How long each runs.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "5m", value_name = "TIME")]
    duration: Duration,
}

/// Runs them; each starts with what is in fuzz/seeds and with what earlier runs found (fuzz/corpus).
///
/// # Errors
/// When there is no such target or no cargo-fuzz, and when one crashes, hangs or takes too much memory.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let cargo_fuzz = CargoFuzz::find()?.context("cargo-fuzz is missing; install it: cargo xtask setup")?;
    fuzz(&cargo_fuzz, options, &[])
}

/// Runs all of them briefly.
///
/// # Errors
/// As [`run`].
pub fn briefly(cargo_fuzz: &CargoFuzz) -> anyhow::Result<()> {
    // Without a line for each input that is kept: there are thousands in the first seconds.
    fuzz(cargo_fuzz, &Options { targets: Vec::new(), duration: BRIEF }, &["-verbosity=0"])
}

/// `more`: options for libFuzzer.
fn fuzz(cargo_fuzz: &CargoFuzz, options: &Options, more: &[&str]) -> anyhow::Result<()> {
    let fuzz = workspace::root()?.join("fuzz");
    let all = targets(&fuzz)?;
    if let Some(unknown) = options.targets.iter().find(|name| !all.contains(name)) {
        bail!("there is no fuzz target {unknown}; there are {}", all.join(", "));
    }
    for target in all.iter().filter(|name| options.targets.is_empty() || options.targets.contains(name)) {
        let corpus = fuzz.join("corpus").join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
        if target == seeds::TARGET {
            seeds::write(&corpus)?;
        }
        let mut command = cargo_fuzz.command("run")?;
        command.arg(target).arg(&corpus);
        command.args(Some(fuzz.join("seeds").join(target)).filter(|seeds| seeds.is_dir()));
        let limit = |name: &str, value: u64| format!("-{name}={value}");
        command
            .args(["--", "-print_final_stats=1"])
            .args(more)
            .arg(limit("max_total_time", options.duration.as_secs()))
            .arg(limit("rss_limit_mb", MEBIBYTES.into()))
            .arg(limit("timeout", SECONDS.into()));
        exec::exec(&mut command)?;
    }
    Ok(())
}

/// The names of the targets, sorted.
fn targets(fuzz: &Path) -> anyhow::Result<Vec<String>> {
    let folder = fuzz.join("fuzz_targets");
    let entries = fs::read_dir(&folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.with_context(|| format!("cannot read {}", folder.display()))?;
    let stem = |entry: fs::DirEntry| Some(entry.path().file_stem()?.to_string_lossy().into_owned());
    let mut targets: Vec<String> = entries.into_iter().filter_map(stem).collect();
    targets.sort_unstable();
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_in_the_manifest() {
        let fuzz = workspace::root().unwrap().join("fuzz");
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        let targets = targets(&fuzz).unwrap();
        assert!(targets.iter().any(|target| target == seeds::TARGET));
        for target in targets {
            assert!(manifest.contains(&format!("name = \"{target}\"\n")), "{target}");
        }
    }
}
