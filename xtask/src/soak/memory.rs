//! Whether memory stays flat.

use std::{fmt, time::Duration};

use super::{trend::Trend, watch::Reading};

/// Part of the time that memory may take to reach its level.
const WARM_UP: u32 = 4;
/// Growth below this part of the memory is none.
const NEGLIGIBLE: f64 = 0.05;
const MIB: f64 = (1 << 20) as f64;

/// What tracer took after it had warmed up.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// When that was.
    warm_up: Duration,
    /// For how long it was watched then, seconds.
    seconds: f64,
    /// Of a core.
    cpu: f64,
    /// Resident bytes at most.
    highest: f64,
    /// Resident bytes over seconds.
    trend: Trend,
}

impl Memory {
    /// Of the readings of a run; `None` where they are too few.
    pub fn of(readings: &[Reading], duration: Duration) -> Option<Self> {
        let warm_up = duration / WARM_UP;
        let level: Vec<&Reading> = readings.iter().filter(|reading| reading.at > warm_up).collect();
        let (first, last) = (level.first()?, level.last()?);
        let seconds = (last.at - first.at).as_secs_f64();
        let points: Vec<_> = level.iter().map(|reading| (reading.at.as_secs_f64(), reading.resident as f64)).collect();
        Some(Self {
            warm_up,
            seconds,
            cpu: (last.cpu - first.cpu).as_secs_f64() / seconds,
            highest: points.iter().map(|point| point.1).fold(0.0, f64::max),
            trend: Trend::of(&points)?,
        })
    }

    /// What a slope would have made of the memory in the time that was watched.
    fn part(&self, slope: f64) -> f64 {
        slope * self.seconds / self.trend.mean
    }

    /// Whether it surely grows.
    pub fn grows(&self) -> bool {
        self.part(self.trend.slope - self.trend.half) > NEGLIGIBLE
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { warm_up, cpu, highest, trend: Trend { mean, slope, half }, .. } = *self;
        let verdict = if self.grows() {
            "it grows"
        } else if self.part(slope + half) < NEGLIGIBLE {
            "flat"
        } else {
            "not certain, a longer run would tell"
        };
        let [slope, low, high] = [slope, slope - half, slope + half].map(|slope| slope * 3600.0 / MIB);
        writeln!(
            f,
            "memory    {:.1} MiB on average, {:.1} MiB at most, after {} s",
            mean / MIB,
            highest / MIB,
            warm_up.as_secs()
        )?;
        writeln!(f, "          {slope:+.1} [{low:+.1} to {high:+.1}] MiB an hour: {verdict}")?;
        writeln!(f, "CPU       {:.1} % of a core", 100.0 * cpu)
    }
}
