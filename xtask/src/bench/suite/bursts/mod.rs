//! Whether totals are right of a target whose bursts come as often as epochs do: recordings of it with the default budget,
//! against what it counted itself.

use std::{fs, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, bail};
use tracer::{
    estimate::{Calibration, Totals},
    recording::Recording,
};

use super::{
    goal::{Goal, Mean, Verdict},
    piped::Piped,
    recordings::{begin, read},
    report::Section,
    scale::Scale,
    spread::Spread,
    target::folder,
};
use crate::{demo::build_tracer, exec};

const RECORDINGS: usize = 50;
/// Of each.
const LENGTH: Duration = Duration::from_secs(5);

/// One recording.
struct Outcome {
    /// What was estimated, as a part of the truth.
    ratio: f64,
    /// Whether the interval holds the truth.
    held: bool,
    /// Epochs with a window.
    windows: f64,
    /// Their mean length in milliseconds.
    epoch_ms: f64,
}

/// Records again and again.
///
/// # Errors
/// When the target or tracer fails.
pub fn run(section: &mut Section, scale: Scale) -> anyhow::Result<()> {
    let tracer = build_tracer()?;
    let folder = folder()?;
    let (source, program) = (folder.join("bursts.c"), folder.join("bursts"));
    fs::write(&source, include_str!("bursts.c"))?;
    exec::exec(Command::new("gcc").args(["-O2", "-o"]).args([&program, &source]))?;
    let mut program = Piped::start(Command::new(&program))?;
    program.line()?;

    let recordings = if scale.quick { 2 } else { RECORDINGS };
    let mut outcomes = Vec::new();
    let mut bounded = 0;
    for _ in 0..recordings {
        let (recording, truth) = record(&tracer, &mut program)?;
        match outcome(&recording, truth)? {
            Some(outcome) => outcomes.push(outcome),
            None => bounded += 1,
        }
    }
    let spread = |number: fn(&Outcome) -> f64| Spread::of(outcomes.iter().map(number));
    section.line(&format!(
        "A program that allocates in bursts of 60 ms, four times a second, counts its bytes; {recordings} recordings of {} s with tracer's \
         default, each with {} windows in epochs of {} ms. The estimate of the total, as a part of the truth; {bounded} of them gave a \
         lower bound only.",
        LENGTH.as_secs(),
        spread(|outcome| outcome.windows).digits(0),
        spread(|outcome| outcome.epoch_ms).digits(0),
    ));
    let mean = Mean::of(outcomes.iter().map(|outcome| outcome.ratio));
    let held = outcomes.iter().filter(|outcome| outcome.held).count();
    section.table(
        &["mean", "single recordings", "95 % intervals that hold the truth"],
        &[vec![mean.digits(3), spread(|outcome| outcome.ratio).to_string(), format!("{held} of {}", outcomes.len())]],
    );
    // Half a 95 % interval is two standard errors.
    let verdict = match mean {
        Mean { count: 0 | 1, .. } => Verdict::NotMeasured,
        Mean { value, margin, .. } => Verdict::at_most((value - 1.0).abs(), margin),
    };
    let found = format!("{}, {} recordings", mean.digits(3), mean.count);
    section.goal(Goal { what: "the mean is within two standard errors of the truth".into(), verdict, found });
    Ok(())
}

/// A recording, and the bytes that were allocated meanwhile.
fn record(tracer: &Path, program: &mut Piped) -> anyhow::Result<(Recording, f64)> {
    let folder = folder()?;
    let output = folder.join("bursts.pb.gz");
    let running = begin(tracer, program.pid(), &[], &output)?;
    program.tell("g")?;
    thread::sleep(LENGTH);
    program.tell("s")?;
    let said = program.line()?;
    running.stop()?;
    let bytes = said.split(' ').nth(1).and_then(|bytes| bytes.parse().ok());
    Ok((read(&output)?, bytes.with_context(|| format!("the program says {said:?}"))?))
}

/// `None`: there is a lower bound only.
fn outcome(recording: &Recording, truth: f64) -> anyhow::Result<Option<Outcome>> {
    let bounded = match Calibration::new(recording).totals() {
        Totals::Estimated { bytes, .. } => bytes,
        Totals::AtLeast { .. } => return Ok(None),
        Totals::Exact(_) => bail!("probes were in all the time: that is more than the budget"),
    };
    let windows: Vec<_> = recording.about.epochs.iter().filter(|epoch| epoch.window.length_ns > 0).collect();
    let length: u64 = windows.iter().map(|epoch| epoch.length_ns).sum();
    Ok(Some(Outcome {
        ratio: bounded.value / truth,
        held: bounded.interval.low <= truth && truth <= bounded.interval.high,
        windows: windows.len() as f64,
        epoch_ms: length as f64 / 1e6 / windows.len().max(1) as f64,
    }))
}
