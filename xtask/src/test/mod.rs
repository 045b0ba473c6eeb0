//! `cargo xtask test`: what CI runs. Every step runs, whatever failed before it; the last line counts them.

mod linkage;
mod markdown;
mod steps;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::bail;

use self::steps::{STEPS, Step};
use crate::workspace;

/// Runs what CI runs: formatting, lints, docs, the BPF object, unit tests, documents, fuzz targets, real-kernel tests, the demo.
/// Where the variable CI is set, a step that would be skipped fails.
#[derive(clap::Args)]
pub struct Options {
    /// Only these steps, in the order of the list.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(STEPS.iter().map(|step| step.name)))]
    steps: Vec<String>,
}

/// How a step went.
pub enum Outcome {
    /// It ran, and all is well.
    Passed,
    /// It ran, but what it looks at was not all here.
    PassedBut(&'static str),
    /// It cannot run here, for this reason.
    Skipped(&'static str),
}

struct Report {
    name: &'static str,
    result: anyhow::Result<Outcome>,
    time: Duration,
}

/// Runs the chosen steps and reports them.
///
/// # Errors
/// None of its own: a failed step is in the exit code.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let chosen = |step: &&Step| options.steps.is_empty() || options.steps.iter().any(|name| name == step.name);
    let reports: Vec<_> = STEPS.iter().filter(chosen).map(run_step).collect();

    eprintln!();
    for report in &reports {
        eprintln!("{}", describe(report));
    }
    // To standard error as the lines above, so that it stays the last one.
    eprintln!("{}", count(&reports));
    let failed = reports.iter().any(|report| report.result.is_err());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run_step(step: &Step) -> Report {
    eprintln!("\n== {}: {}", step.name, step.about);
    let start = Instant::now();
    let result = (step.run)().and_then(|outcome| required(outcome, workspace::is_ci()));
    if let Err(error) = &result {
        eprintln!("error: {error:#}");
    }
    Report { name: step.name, result, time: start.elapsed() }
}

/// In CI a step that does not run is a failure: nobody would notice that it never does.
fn required(outcome: Outcome, is_ci: bool) -> anyhow::Result<Outcome> {
    match outcome {
        Outcome::Skipped(reason) if is_ci => bail!("skipped, which CI does not allow: {reason}"),
        outcome => Ok(outcome),
    }
}

fn describe(report: &Report) -> String {
    let how = match &report.result {
        Ok(Outcome::Passed) => "passed".to_owned(),
        Ok(Outcome::PassedBut(less)) => format!("passed, but {less}"),
        Ok(Outcome::Skipped(reason)) => format!("skipped: {reason}"),
        Err(error) => format!("FAILED: {error:#}"),
    };
    format!("{:<12} {:>5} s  {how}", report.name, report.time.as_secs())
}

fn count(reports: &[Report]) -> String {
    let of = |is: fn(&Report) -> bool| reports.iter().filter(|report| is(report)).count();
    let passed = of(|report| matches!(report.result, Ok(Outcome::Passed | Outcome::PassedBut(_))));
    let failed = of(|report| report.result.is_err());
    let skipped = of(|report| matches!(report.result, Ok(Outcome::Skipped(_))));
    format!("{passed} passed, {failed} failed, {skipped} skipped")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn report(result: anyhow::Result<Outcome>) -> Report {
        Report { name: "unit", result, time: Duration::from_secs(7) }
    }

    #[test]
    fn count_tells_the_three_outcomes_apart() {
        let reports =
            [report(Ok(Outcome::Passed)), report(Err(anyhow!("no"))), report(Ok(Outcome::Skipped("not root")))];
        assert_eq!(count(&reports), "1 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn nothing_is_skipped_in_ci() {
        let skipped = || Outcome::Skipped("not root");
        assert!(matches!(required(skipped(), false), Ok(Outcome::Skipped("not root"))));
        assert!(required(skipped(), true).err().unwrap().to_string().ends_with("not root"));
        assert!(matches!(required(Outcome::Passed, true), Ok(Outcome::Passed)));
        assert!(matches!(required(Outcome::PassedBut("less"), true), Ok(Outcome::PassedBut("less"))));
    }

    #[test]
    fn failure_is_described_with_its_causes() {
        let line = describe(&report(Err(anyhow!("disk full").context("cannot write"))));
        assert_eq!(line, "unit             7 s  FAILED: cannot write: disk full");
    }

    #[test]
    fn names_of_steps_are_unique() {
        let mut names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS.len());
    }
}
