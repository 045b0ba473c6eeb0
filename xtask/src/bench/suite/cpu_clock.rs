//! What a process has needed.

use anyhow::Context as _;
use nix::{time::ClockId, unistd::Pid};

/// CPU time of all its threads so far, in nanoseconds (clock_getcpuclockid(3)).
///
/// # Errors
/// When the process is gone.
pub fn cpu_time(pid: u32) -> anyhow::Result<f64> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid.cast_signed()));
    let now = clock.and_then(ClockId::now).with_context(|| format!("process {pid} has no clock"))?;
    Ok(now.tv_sec() as f64 * 1e9 + now.tv_nsec() as f64)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_clock_runs_while_we_do() {
        let (start, before) = (Instant::now(), cpu_time(std::process::id()).unwrap());
        while cpu_time(std::process::id()).unwrap() < before + 1e6 {
            assert!(start.elapsed() < Duration::from_secs(60), "a spinning process needs no time");
        }
        assert!(cpu_time(i32::MAX.cast_unsigned()).is_err());
    }
}
