//! `cargo xtask test`: what CI runs. Every step runs, whatever failed before it; the last line counts them.

mod markdown;
mod steps;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use self::steps::{STEPS, Step};

/// Runs what CI runs: formatting, lints, docs, the BPF object, unit tests, documents, real-kernel tests, the demo.
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
    let result = (step.run)();
    if let Err(error) = &result {
        eprintln!("error: {error:#}");
    }
    Report { name: step.name, result, time: start.elapsed() }
}

fn describe(report: &Report) -> String {
    let how = match &report.result {
        Ok(Outcome::Passed) => "passed".to_owned(),
        Ok(Outcome::Skipped(reason)) => format!("skipped: {reason}"),
        Err(error) => format!("FAILED: {error:#}"),
    };
    format!("{:<12} {:>5} s  {how}", report.name, report.time.as_secs())
}

fn count(reports: &[Report]) -> String {
    let of = |is: fn(&Report) -> bool| reports.iter().filter(|report| is(report)).count();
    let passed = of(|report| matches!(report.result, Ok(Outcome::Passed)));
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
