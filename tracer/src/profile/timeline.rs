//! What was allocated when: the recording cut into stretches of time, and each stretch by region.

use std::collections::HashMap;

use super::regions::{RegionIndex, Regions};
use crate::estimate::{Calibration, Interval, Measure};
use crate::recording::{About, Recording, Sample, StackIndex};

/// Stretches at most: what fits beside a name in a terminal.
pub const STRETCHES: usize = 60;

/// A stretch of a recording, in nanoseconds since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its begin.
    pub start_ns: u64,
    /// Its end, behind the begin.
    pub end_ns: u64,
}

impl Stretch {
    /// Its length in seconds, never 0.
    pub fn seconds(self) -> f64 {
        (self.end_ns - self.start_ns).max(1) as f64 / 1e9
    }
}

/// The amounts of each stretch.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The stretches, in order of time.
    pub stretches: Vec<Stretch>,
    /// What was allocated in each stretch; samples only.
    pub all: Vec<Measure>,
    /// What regions allocated in each stretch, by the index of the region; empty without regions.
    pub regions: Vec<Vec<Measure>>,
    calibration: Calibration,
}

impl Timeline {
    /// Cuts a recording. Costs about what weighing its samples does.
    pub fn new(recording: &Recording, regions: Option<&Regions>) -> Self {
        let about = &recording.about;
        let cuts = Cuts::new(about);
        // Samples of one stack in two stretches are taken for samples of two stacks.
        let (mut parts, mut known) = (Vec::new(), HashMap::new());
        let part_of = |sample: &Sample| {
            let part = (sample.stack, cuts.stretch_of(sample));
            let stack = *known.entry(part).or_insert_with(|| {
                parts.push(part);
                parts.len() as StackIndex - 1
            });
            Sample { stack, thread_name: String::new(), ..*sample }
        };
        let samples = recording.samples.iter().map(part_of).collect();
        let calibration = Calibration::new(&Recording { about: about.clone(), samples, ..Recording::default() });

        let (length, count) = (cuts.stretches.len(), regions.map_or(0, |regions| regions.names.len()));
        let mut totals = calibration.sum((count + 1) * length, |part, groups| {
            let (stack, stretch) = parts[part as usize];
            groups.add(stretch as u32);
            if let Some(regions) = regions {
                let region = usize::from(regions.of_stack[stack as usize]);
                groups.add(((region + 1) * length + stretch) as u32);
            }
        });
        let of_regions = totals.split_off(length);
        Self {
            all: totals,
            regions: of_regions.chunks(length.max(1)).map(<[Measure]>::to_vec).collect(),
            stretches: cuts.stretches,
            calibration,
        }
    }

    /// The amounts of a region.
    pub fn region(&self, region: RegionIndex) -> &[Measure] {
        self.regions.get(usize::from(region)).map_or(&[], Vec::as_slice)
    }

    /// Bytes per second in a stretch, with their 95 % interval.
    pub fn rate(&self, stretch: usize, measure: &Measure) -> (f64, Interval) {
        let seconds = self.stretches.get(stretch).map_or(1.0, |stretch| stretch.seconds());
        (measure.bytes.value / seconds, self.calibration.bytes_interval(measure).per(seconds))
    }
}

/// Where a recording is cut. One whose calls were counted in windows is cut between these: a stretch without a window would
/// seem to be one in which nothing happened.
struct Cuts {
    stretches: Vec<Stretch>,
    /// The stretch of each epoch; empty where there are none.
    of_epoch: Vec<usize>,
}

impl Cuts {
    fn new(about: &About) -> Self {
        if about.epochs.is_empty() {
            let end = about.duration_ns.max(STRETCHES as u64);
            let cut = |i: usize| (u128::from(end) * i as u128 / STRETCHES as u128) as u64;
            let stretches = (0..STRETCHES).map(|i| Stretch { start_ns: cut(i), end_ns: cut(i + 1) }).collect();
            return Self { stretches, of_epoch: Vec::new() };
        }
        // Epochs of a file may be anything: in order at least.
        let together = about.epochs.len().div_ceil(STRETCHES);
        let mut stretches: Vec<Stretch> = Vec::new();
        for epochs in about.epochs.chunks(together) {
            let start_ns = stretches.last().map_or(0, |last| last.end_ns);
            let end = epochs.iter().map(|epoch| epoch.start_ns.saturating_add(epoch.length_ns)).max().unwrap_or(0);
            stretches.push(Stretch { start_ns, end_ns: end.max(start_ns.saturating_add(1)) });
        }
        Self { stretches, of_epoch: (0..about.epochs.len()).map(|epoch| epoch / together).collect() }
    }

    fn stretch_of(&self, sample: &Sample) -> usize {
        let last = self.stretches.len().saturating_sub(1);
        match self.of_epoch.get(sample.epoch as usize) {
            Some(&stretch) => stretch,
            None => self.stretches.partition_point(|stretch| stretch.end_ns <= sample.time_ns).min(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Options, Profile, Rules};
    use crate::recording::about::{Epoch, Window};
    use crate::synthetic::simulation::{self, Site};
    use crate::synthetic::{Random, program};

    fn regions(recording: &Recording) -> Regions {
        let mut rules = Rules::default();
        rules.add_option("net=^(game::)?net::").unwrap();
        Profile::with_options(recording, &Options { rules, ..Options::default() }).regions.unwrap()
    }

    #[test]
    fn stretches_and_regions_add_up() {
        let recording = program::recording();
        let regions = regions(&recording);
        let timeline = Timeline::new(&recording, Some(&regions));
        assert_eq!((timeline.stretches.len(), timeline.regions.len()), (STRETCHES, 2));
        assert_eq!(
            timeline.stretches.iter().map(|stretch| stretch.end_ns - stretch.start_ns).sum::<u64>(),
            10_000_000_000
        );
        let sum = |measures: &[Measure]| measures.iter().map(|measure| measure.bytes.value).sum::<f64>();
        let attributed = Profile::new(&recording).calibration.attributed().bytes.value;
        assert!((sum(&timeline.all) / attributed - 1.0).abs() < 1e-9);
        for row in &regions.rows {
            assert!((sum(timeline.region(row.region)) / row.total.bytes.value - 1.0).abs() < 1e-9);
        }
    }

    /// The rate of a program that is busy half of the time, in the stretches in which it is.
    #[test]
    fn rates_are_those_of_the_time() {
        let sites = [Site { stack: "main > net::read > malloc", size: 200, rate: 50_000.0 }];
        let mut step = 0;
        let busy = |_: &mut Random| {
            step += 1;
            f64::from(u8::from(step > 150))
        };
        let recording = simulation::record(&sites, 6, 4096, &mut Random::new(3), busy).recording;
        let timeline = Timeline::new(&recording, Some(&regions(&recording)));
        let mut held = 0;
        for (i, measure) in timeline.region(0).iter().enumerate() {
            let (rate, interval) = timeline.rate(i, measure);
            let truth = if i < 30 { 0.0 } else { 1e7 };
            assert!((rate - truth).abs() < 2e6, "{i}: {rate}");
            held += u32::from(interval.low <= truth && truth <= interval.high);
        }
        assert!(held >= 54, "{held} of 60");
    }

    #[test]
    fn windows_are_in_stretches_of_their_own_epochs() {
        let mut recording = program::recording();
        let epoch = |i: u64| Epoch {
            start_ns: i * 100_000_000,
            length_ns: 100_000_000,
            probability: 0.1,
            cpu_ns: 100_000_000,
            window: Window {
                start_ns: i * 100_000_000,
                length_ns: 10_000_000,
                cpu_ns: 10_000_000,
                ..Window::default()
            },
            ..Epoch::default()
        };
        recording.about.epochs = (0..100).map(epoch).collect();
        for sample in &mut recording.samples {
            sample.epoch = (sample.time_ns / 100_000_000) as u32;
        }
        let timeline = Timeline::new(&recording, None);
        assert_eq!(timeline.stretches.len(), 50);
        assert!(timeline.stretches.iter().all(|stretch| stretch.end_ns - stretch.start_ns == 200_000_000));
        assert_eq!(timeline.all.iter().map(|measure| measure.samples).sum::<u64>(), recording.samples.len() as u64);
    }

    #[test]
    fn nothing_and_nonsense_have_timelines() {
        let timeline = Timeline::new(&Recording::default(), None);
        assert!(timeline.all.iter().all(|measure| measure.samples == 0));
        let mut recording = program::recording();
        recording.about.epochs = vec![Epoch { start_ns: u64::MAX, length_ns: u64::MAX, ..Epoch::default() }; 3];
        recording.samples[0].epoch = 7;
        let timeline = Timeline::new(&recording, Some(&regions(&recording)));
        assert!(timeline.stretches.iter().all(|stretch| stretch.end_ns >= stretch.start_ns));
        assert_eq!(timeline.all.len(), 3);
    }
}
