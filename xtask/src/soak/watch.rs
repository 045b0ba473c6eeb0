//! What tracer takes while it runs, from /proc.

use std::{
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use procfs::process::Process;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Between two lines for those who wait.
const TOLD: Duration = Duration::from_secs(60);
/// tracer's exit code where losses are worth a word.
const INCOMPLETE: i32 = 3;

/// One look.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Since the start.
    pub at: Duration,
    /// Resident bytes.
    pub resident: u64,
    /// CPU time so far.
    pub cpu: Duration,
}

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs tracer to its end and looks at it during the recording, which takes `duration`: what comes behind is analysis.
///
/// # Errors
/// When it cannot be run, or fails.
pub fn until_end(command: &mut Command, duration: Duration) -> anyhow::Result<Vec<Reading>> {
    let mut tracer = Running(command.spawn().with_context(|| format!("cannot run {command:?}"))?);
    let pid = i32::try_from(tracer.0.id())?;
    let (start, mut told) = (Instant::now(), Instant::now());
    let mut readings = Vec::new();
    let status = loop {
        if let Some(status) = tracer.0.try_wait()? {
            break status;
        }
        let at = start.elapsed();
        // It may end in this very moment.
        if let Some(reading) = read(pid, at).filter(|_| at < duration) {
            if told.elapsed() >= TOLD {
                eprintln!(
                    "{:>6} s  {:>7.1} MiB  {:>7.1} s of CPU time",
                    at.as_secs(),
                    reading.resident as f64 / f64::from(1 << 20),
                    reading.cpu.as_secs_f64()
                );
                told = Instant::now();
            }
            readings.push(reading);
        }
        thread::sleep(EVERY);
    };
    ensure!(matches!(status.code(), Some(0 | INCOMPLETE)), "tracer failed: {status}");
    Ok(readings)
}

fn read(pid: i32, at: Duration) -> Option<Reading> {
    let stat = Process::new(pid).ok()?.stat().ok()?;
    let ticks = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
    Some(Reading { at, resident: stat.rss * procfs::page_size(), cpu: Duration::from_secs_f64(ticks) })
}
