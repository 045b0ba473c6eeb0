//! The sampling interval: fixed, or chosen from the measured rate of allocation.
//!
//! Samples carry the interval they were drawn with, and it is chosen from exact counters of the past, which the draws do not
//! influence: changing it leaves every estimate unbiased.

use std::time::Duration;

/// The option `--interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalSetting {
    /// Choose and adapt.
    Auto,
    /// Mean bytes between samples; 0 samples every allocation.
    Fixed(u64),
}

/// Interval before anything is known. It holds for the first hundredth of a second only; even 1 GB/s gives no more than a few
/// hundred samples in that time.
const START: u64 = 32 << 10;
/// A frame with a tenth of all bytes gets an interval of 5 % at 1,537 samples of its own: (1.96 / 0.05)^2.
const WANTED_SAMPLES: f64 = 15_366.0;
/// Samples each second at most: what tracer handles below 1 % of a core.
const MAX_RATE: f64 = 2000.0;
/// Duration to aim at when the run is open-ended.
const OPEN_ENDED: Duration = Duration::from_secs(30);
/// See [`IntervalControl::for_events`]: four events of a page.
const EVERY_BELOW: u64 = 16 << 10;
const MIN: u64 = 256;
const MAX: u64 = 1 << 31;

/// Chooses intervals.
#[derive(Clone, Debug)]
pub struct IntervalControl {
    setting: IntervalSetting,
    samples_per_second: f64,
    interval: u64,
    /// Intervals below this are 0 instead.
    every_below: u64,
    /// Never below this, whatever the setting.
    least: u64,
    /// Bytes per second, smoothed; 0 before the first observation.
    rate: f64,
}

impl IntervalControl {
    /// For a run of `duration` (`None` = until it is stopped).
    pub fn new(setting: IntervalSetting, duration: Option<Duration>) -> Self {
        let seconds = duration.unwrap_or(OPEN_ENDED).as_secs_f64().max(1.0);
        let interval = match setting {
            IntervalSetting::Auto => START,
            IntervalSetting::Fixed(interval) => interval,
        };
        let samples_per_second = (WANTED_SAMPLES / seconds).min(MAX_RATE);
        Self { setting, samples_per_second, interval, every_below: 0, least: 0, rate: 0.0 }
    }

    /// For events that are few as a rule and a page large at least: all are sampled until there are too many of them.
    pub fn for_events(setting: IntervalSetting, duration: Option<Duration>) -> Self {
        let interval = if setting == IntervalSetting::Auto { 0 } else { Self::new(setting, duration).interval };
        Self { every_below: EVERY_BELOW, interval, ..Self::new(setting, duration) }
    }

    /// The interval to sample with now.
    pub fn interval(&self) -> u64 {
        self.interval
    }

    /// Never samples with a smaller interval than this from now on.
    pub fn raise(&mut self, least: u64) {
        self.least = self.least.max(least);
        self.interval = self.interval.max(least);
    }

    /// Takes note that `bytes` were allocated in the last `elapsed`; returns a new interval where it should change.
    ///
    /// It changes only by more than a factor of 1.5, so that a recording holds few distinct ones.
    pub fn observe(&mut self, bytes: u64, elapsed: Duration) -> Option<u64> {
        if self.setting != IntervalSetting::Auto || elapsed.is_zero() {
            return None;
        }
        let rate = bytes as f64 / elapsed.as_secs_f64();
        // Half the weight for the past of one second.
        let keep = 0.5f64.powf(elapsed.as_secs_f64());
        self.rate = if self.rate == 0.0 { rate } else { keep * self.rate + (1.0 - keep) * rate };
        // An idle target says nothing: the next burst would drown in samples.
        if self.rate < 1.0 {
            return None;
        }
        let wanted = (self.rate / self.samples_per_second).clamp(MIN as f64, MAX as f64).max(self.least as f64);
        if wanted < self.every_below as f64 {
            let changes = self.interval != 0;
            self.interval = 0;
            return changes.then_some(0);
        }
        let ratio = wanted / self.interval as f64;
        if (1.0 / 1.5..=1.5).contains(&ratio) {
            return None;
        }
        // Two significant binary digits: few distinct values.
        let step = 2f64.powf((wanted.log2() * 2.0).round() / 2.0) as u64;
        let step = step.clamp(MIN, MAX).max(self.least);
        (step != self.interval).then(|| {
            self.interval = step;
            step
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn settles_at_the_wanted_number_of_samples() {
        let mut control = IntervalControl::new(IntervalSetting::Auto, Some(30 * SECOND));
        for _ in 0..20 {
            control.observe(1 << 30, SECOND);
        }
        let samples = 30.0 * (1u64 << 30) as f64 / control.interval() as f64;
        assert!((WANTED_SAMPLES / 1.6..WANTED_SAMPLES * 1.6).contains(&samples), "{samples}");
        assert_eq!(control.observe(1 << 30, SECOND), None, "steady load, steady interval");
    }

    #[test]
    fn a_fixed_interval_stays() {
        let mut control = IntervalControl::new(IntervalSetting::Fixed(4096), None);
        assert_eq!(control.observe(1 << 40, SECOND), None);
        assert_eq!(control.interval(), 4096);
    }

    #[test]
    fn every_event_is_sampled_unless_there_are_too_many() {
        let mut control = IntervalControl::for_events(IntervalSetting::Auto, Some(10 * SECOND));
        assert_eq!((control.interval(), control.observe(4096 * 1000, SECOND)), (0, None));
        let interval = control.observe(4096 * 1_000_000, SECOND).unwrap();
        assert!(interval > EVERY_BELOW);
        for _ in 0..20 {
            control.observe(4096 * 10, SECOND);
        }
        assert_eq!(control.interval(), 0);
        assert_eq!(IntervalControl::for_events(IntervalSetting::Fixed(7), None).interval(), 7);
    }

    #[test]
    fn extremes_stay_in_range() {
        let mut control = IntervalControl::new(IntervalSetting::Auto, None);
        for bytes in [0, 1, u64::MAX, 0, u64::MAX] {
            control.observe(bytes, Duration::from_nanos(1));
            control.observe(bytes, Duration::ZERO);
            assert!((MIN..=MAX).contains(&control.interval()) || control.interval() == START);
        }
    }
}
