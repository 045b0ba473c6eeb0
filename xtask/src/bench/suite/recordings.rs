//! Recordings that tracer makes.

use std::{
    fs::File,
    io::BufReader,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tracer::recording::{Recording, pprof};

use super::target::folder;
use crate::demo::background::Background;

/// How long tracer may take to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// A recording, and what tracer said.
///
/// # Errors
/// When tracer fails.
pub fn record(
    tracer: &Path,
    pid: u32,
    duration: Duration,
    interval: &str,
    options: &[&str],
) -> anyhow::Result<(Recording, String)> {
    let picture = folder()?.join("render.svg");
    let duration = format!("{}s", duration.as_secs());
    let mut command = Command::new(tracer);
    command.args(["--pid", &pid.to_string(), "--duration", &duration, "--interval", interval, "--verbose", "--force"]);
    command.args(options).arg("-o").arg(&picture);
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // 3 is a recording that lacks something; the number of samples shows whether that matters.
    ensure!(matches!(output.status.code(), Some(0 | 3)), "{command:?} failed:\n{said}");
    Ok((read(&picture.with_extension("pb.gz"))?, said))
}

/// Begins a recording that goes on until it is stopped; returns once every probe is in.
///
/// # Errors
/// When tracer fails.
pub fn begin(tracer: &Path, pid: u32, options: &[&str], output: &Path) -> anyhow::Result<Background> {
    let mut command = Command::new(tracer);
    command.args(["--pid", &pid.to_string(), "--force"]).args(options).arg("-o").arg(output);
    let mut running = Background::start(&mut command, &output.with_extension("log"))?;
    let start = Instant::now();
    while !running.output()?.contains("recording ") {
        running.expect_running()?;
        ensure!(start.elapsed() < PATIENCE, "tracer does not begin:\n{}", running.output()?);
        thread::sleep(Duration::from_millis(20));
    }
    Ok(running)
}

/// Reads a recording.
///
/// # Errors
/// When it is none.
pub fn read(path: &Path) -> anyhow::Result<Recording> {
    let file = File::open(path).with_context(|| format!("no {}", path.display()))?;
    Ok(pprof::read(BufReader::new(file), &pprof::Limits::default())?)
}

/// Bytes that were allocated in a recording.
pub fn bytes(recording: &Recording) -> u64 {
    recording.about.counters.iter().flat_map(|counter| &counter.classes).map(|class| class.bytes).sum()
}
