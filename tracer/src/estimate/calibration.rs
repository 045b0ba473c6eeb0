//! Post-stratified sums over the samples of a recording, for any number of groups of stacks at once.
//!
//! In a stratum h with the exact total B and the estimate Y = Σ S/p, a group a with the estimate Yₐ gets (Särndal,
//! Swensson and Wretman 1992, section 7.6; Holt and Smith, J. R. Stat. Soc. A 142 (1979) 33)
//!
//! ```text
//! Y*ₐ = g Yₐ                                  g = B/Y
//! V*ₐ = g² ((1-r)² Vₐ + r² (V - Vₐ))          r = Yₐ/Y
//! ```
//!
//! and sums these over the strata; objects likewise with calls and Σ 1/p. V* is the variance of the residuals S (1ₐ -
//! r) of the linearised ratio. Unscaled, the variance is Vₐ: scaling lowers it wherever r V < 2 Vₐ. Blocks of one size
//! class have Vₐ/V close to r, so it is lower by 1 - r there: nothing for a rare site, all of it for the whole. It can
//! only be higher for a group of the largest blocks of a class well above the interval, where all of V is negligible.

use tracer_ebpf::abi::allocation::{SIZE_CLASSES, size_class};

use super::inclusion::{weigh, weigh_tick};
use super::interval::{self, Interval};
use super::measure::{Estimate, Exact, Measure};
use super::strata::{Cell, Design, Strata, Stratum};
use crate::recording::{About, Recording, Sample, StackIndex, about::Source};

/// The weights of a recording's samples.
#[derive(Clone, Debug)]
pub struct Calibration {
    kept: f64,
    unit: f64,
    strata: Strata,
    bundles: Vec<Bundle>,
    attributed: Measure,
    exact: Option<Exact>,
}

/// The samples of one stack in one stratum.
#[derive(Clone, Copy, Debug)]
struct Bundle {
    stratum: u32,
    stack: StackIndex,
    estimate: Measure,
}

impl Calibration {
    /// Weighs the samples of a recording. Linear in their number, up to sorting.
    pub fn new(recording: &Recording) -> Self {
        let samples = &recording.samples;
        let lost = recording.about.losses.samples() as f64;
        let kept = if samples.is_empty() { 1.0 } else { samples.len() as f64 / (samples.len() as f64 + lost) };
        let interval = samples.iter().map(|s| s.interval).max().unwrap_or(0);
        let unit = interval as f64 / kept;

        let mut cells = exact_cells(&recording.about);
        for sample in samples {
            let cell = &mut cells[cell_of(&recording.about, sample)];
            cell.estimate += weigh_sample(&recording.about, sample, kept);
            cell.sampled += Exact { calls: 1, bytes: sample.size };
        }
        let accounted = accounted(recording);
        let strata = match accounted {
            Some(exact) => Strata::whole(&cells, exact),
            None => Strata::new(&cells, Design { interval, kept }),
        };

        let mut order: Vec<(u64, u32)> = (0u32..)
            .zip(samples)
            .map(|(i, sample)| {
                let stratum = strata.of_cell[cell_of(&recording.about, sample)].unwrap_or_default();
                (u64::from(stratum) << 32 | u64::from(sample.stack), i)
            })
            .collect();
        order.sort_unstable();
        let mut bundles: Vec<Bundle> = Vec::new();
        for (key, i) in order {
            let sample = &samples[i as usize];
            let estimate = weigh_sample(&recording.about, sample, kept);
            let (stratum, stack) = ((key >> 32) as u32, key as u32);
            match bundles.last_mut() {
                Some(last) if (last.stratum, last.stack) == (stratum, stack) => last.estimate += estimate,
                _ => bundles.push(Bundle { stratum, stack, estimate }),
            }
        }

        let mut attributed = Measure::default();
        for stratum in &strata.strata {
            attributed += scaled(stratum.estimate, stratum);
        }
        let calibrated = strata.strata.iter().all(|s| s.exact.is_some());
        let counted = calibrated && !recording.about.counters.is_empty();
        let exact = accounted.or_else(|| counted.then(|| exact_total(&recording.about)));
        Self { kept, unit, strata, bundles, attributed, exact }
    }

    /// Adds up groups: `visit` is called for stacks and names each group that the stack belongs to, once. Returns one
    /// measure for each group. Groups may overlap; the cost is the number of groups named.
    ///
    /// A stack that has samples in k strata is visited k times. One pass takes one stratum, so that a
    /// group needs one slot of scratch space and not one for each stratum.
    pub fn sum(&self, groups: usize, mut visit: impl FnMut(StackIndex, &mut Groups<'_>)) -> Vec<Measure> {
        let mut totals = vec![Measure::default(); groups];
        let mut scratch = vec![Measure::default(); groups];
        let mut touched: Vec<u32> = Vec::new();
        for bundles in self.bundles.chunk_by(|a, b| a.stratum == b.stratum) {
            for bundle in bundles {
                visit(
                    bundle.stack,
                    &mut Groups { scratch: &mut scratch, touched: &mut touched, estimate: bundle.estimate },
                );
            }
            let Some(stratum) = bundles.first().and_then(|b| self.strata.strata.get(b.stratum as usize)) else {
                continue;
            };
            for group in touched.drain(..) {
                let part = std::mem::take(&mut scratch[group as usize]);
                totals[group as usize] += scaled(part, stratum);
            }
        }
        totals
    }

    /// What one sample stands for: (bytes, objects), scaled.
    pub fn weight(&self, about: &About, sample: &Sample) -> (f64, f64) {
        let weight = weigh_sample(about, sample, self.kept);
        let stratum = self.strata.of_cell.get(cell_of(about, sample)).copied().flatten();
        match stratum.and_then(|s| self.strata.strata.get(s as usize)) {
            Some(stratum) => {
                let scaled = scaled(weight, stratum);
                (scaled.bytes.value, scaled.objects.value)
            }
            None => (weight.bytes.value, weight.objects.value),
        }
    }

    /// Everything that samples speak for. With exact counters its variance is 0.
    pub fn attributed(&self) -> Measure {
        self.attributed
    }

    /// What was counted but has no sample to speak for it.
    pub fn unattributed(&self) -> Exact {
        self.strata.unattributed
    }

    /// The exact totals, where there are exact counters for all samples: [`Self::attributed`] and
    /// [`Self::unattributed`] add up to them.
    pub fn exact(&self) -> Option<Exact> {
        self.exact
    }

    /// Share of the samples taken that reached the recording.
    pub fn kept(&self) -> f64 {
        self.kept
    }

    /// What one event more would add to bytes: a sample of the smallest blocks, or a tick.
    pub fn unit(&self) -> f64 {
        self.unit
    }

    /// 95 % interval of a group's bytes.
    pub fn bytes_interval(&self, group: &Measure) -> Interval {
        match self.exact {
            Some(_) => interval::of_part(group.bytes, self.unit, self.attributed.bytes.value, self.unit),
            None => interval::of_sum(group.bytes, self.unit),
        }
    }

    /// 95 % interval of a group's objects: of those of sizes that were sampled. Blocks of a few bytes can be many
    /// before one is sampled, so that no bound holds for sizes unseen; one event more weighs as much as the mean of
    /// those seen.
    pub fn objects_interval(&self, group: &Measure) -> Interval {
        let mean = |part: Measure| if part.samples == 0 { 0.0 } else { part.objects.value / part.samples as f64 };
        let unit = if group.objects.variance > 0.0 || self.unit > 0.0 { mean(*group) } else { 0.0 };
        if self.exact.is_none() {
            return interval::of_sum(group.objects, unit);
        }
        let whole = self.attributed;
        let rest = Measure {
            samples: whole.samples.saturating_sub(group.samples),
            objects: Estimate { value: whole.objects.value - group.objects.value, variance: 0.0 },
            ..Measure::default()
        };
        let rest_unit = if unit == 0.0 || rest.samples > 0 { mean(rest) } else { mean(whole) };
        interval::of_part(group.objects, unit, whole.objects.value, rest_unit)
    }
}

/// The groups of a stack, see [`Calibration::sum`].
pub struct Groups<'a> {
    scratch: &'a mut [Measure],
    touched: &'a mut Vec<u32>,
    estimate: Measure,
}

impl Groups<'_> {
    /// The stack belongs to this group.
    ///
    /// # Panics
    /// Where `group` is not below the number of groups.
    #[inline]
    pub fn add(&mut self, group: u32) {
        let slot = &mut self.scratch[group as usize];
        if slot.samples == 0 {
            self.touched.push(group);
        }
        *slot += self.estimate;
    }
}

fn weigh_sample(about: &About, sample: &Sample, kept: f64) -> Measure {
    match about.source {
        Source::Cpu => weigh_tick(sample.size, kept),
        _ => weigh(sample.size, sample.interval, kept),
    }
}

/// A part of a stratum, scaled with it.
fn scaled(part: Measure, stratum: &Stratum) -> Measure {
    let Some(exact) = stratum.exact else { return part };
    Measure {
        samples: part.samples,
        bytes: ratio(part.bytes, stratum.estimate.bytes, exact.bytes),
        objects: ratio(part.objects, stratum.estimate.objects, exact.calls),
    }
}

fn ratio(part: Estimate, whole: Estimate, exact: u64) -> Estimate {
    if whole.value <= 0.0 {
        return part;
    }
    let g = exact as f64 / whole.value;
    let r = (part.value / whole.value).min(1.0);
    let rest = (whole.variance - part.variance).max(0.0);
    Estimate { value: g * part.value, variance: g * g * ((1.0 - r).powi(2) * part.variance + r * r * rest) }
}

/// All cells that the counters have, counter by counter, and one more for samples of no counter.
fn exact_cells(about: &About) -> Vec<Cell> {
    let mut cells = Vec::with_capacity(about.counters.len() * SIZE_CLASSES + 1);
    for (index, counter) in (0..).zip(&about.counters) {
        let base = cells.len();
        cells.extend((0..SIZE_CLASSES).map(|class| Cell {
            class: class as u8,
            counter: index,
            exact: Some(Exact::default()),
            ..Cell::default()
        }));
        for class in &counter.classes {
            let cell = cells[base..].get_mut(usize::from(class.class)).and_then(|cell| cell.exact.as_mut());
            if let Some(exact) = cell {
                *exact += Exact { calls: class.calls, bytes: class.bytes };
            }
        }
    }
    cells.push(Cell { class: u8::MAX, counter: u32::MAX, ..Cell::default() });
    cells
}

/// The CPU time that the kernel accounted for, and the ticks that were taken of it.
fn accounted(recording: &Recording) -> Option<Exact> {
    let bytes = recording.about.cpu.as_ref()?.accounted_ns?;
    let calls = (recording.samples.len() as u64).saturating_add(recording.about.losses.samples());
    Some(Exact { calls, bytes })
}

/// The index of a sample's cell in [`exact_cells`].
fn cell_of(about: &About, sample: &Sample) -> usize {
    let counter = (sample.counter as usize).min(about.counters.len());
    if counter == about.counters.len() {
        counter * SIZE_CLASSES
    } else {
        counter * SIZE_CLASSES + size_class(sample.size)
    }
}

fn exact_total(about: &About) -> Exact {
    let mut total = Exact::default();
    for class in about.counters.iter().flat_map(|counter| &counter.classes) {
        total += Exact { calls: class.calls, bytes: class.bytes };
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::about::{Counter, CpuTime, SizeClass};

    const R: u64 = 4096;

    fn sample(stack: u32, size: u64) -> Sample {
        Sample { stack, size, interval: R, process: 1, thread: 1, ..Sample::default() }
    }

    fn recording(samples: Vec<Sample>, classes: &[(u64, u64)]) -> Recording {
        let classes = classes
            .iter()
            .map(|&(size, calls)| SizeClass { class: size_class(size) as u8, calls, bytes: calls * size })
            .collect();
        let about = About { counters: vec![Counter { classes, ..Counter::default() }], ..About::default() };
        Recording { about, samples, ..Recording::default() }
    }

    /// Group 0: everything; group 1 + s: stack s.
    fn sum(calibration: &Calibration) -> Vec<Measure> {
        calibration.sum(3, |stack, groups| {
            groups.add(0);
            groups.add(1 + stack);
        })
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-9 * b.abs(), "{a} is not {b}");
    }

    #[test]
    fn totals_are_the_exact_ones_and_shares_those_of_the_samples() {
        let samples = (0..100).map(|i| sample(u32::from(i % 4 == 0), 16)).collect();
        let calibration = Calibration::new(&recording(samples, &[(16, 30_000)]));
        let groups = sum(&calibration);
        near(groups[0].bytes.value, 480_000.0);
        near(groups[0].objects.value, 30_000.0);
        near(groups[2].bytes.value, 120_000.0);
        assert!(groups[0].bytes.variance.abs() < 1e-3);
        // Binomial: n r (1-r) sample weights squared.
        let weight = 480_000.0 / 100.0;
        let p = -(-16.0 / R as f64).exp_m1();
        near(groups[2].bytes.variance, 100.0 * 0.25 * 0.75 * weight * weight * (1.0 - p));
        assert_eq!(calibration.exact(), Some(Exact { calls: 30_000, bytes: 480_000 }));
    }

    #[test]
    fn attributed_and_unattributed_are_the_exact_total() {
        let samples = (0..50).map(|i| sample(i % 2, 16)).collect();
        let calibration = Calibration::new(&recording(samples, &[(16, 12_000), (64, 10), (1 << 30, 2), (0, 5)]));
        let unattributed = calibration.unattributed();
        assert_eq!(unattributed, Exact { calls: 7, bytes: 2 << 30 });
        let exact = calibration.exact().unwrap();
        near(calibration.attributed().bytes.value, (exact.bytes - unattributed.bytes) as f64);
        near(calibration.attributed().objects.value, 12_010.0);
        near(sum(&calibration)[0].bytes.value, calibration.attributed().bytes.value);
    }

    #[test]
    fn single_weights_add_up_to_the_groups() {
        let samples = (0..500u32).map(|i| sample(i % 2, u64::from(i % 7) * 900 + 1)).collect();
        let mut recording = recording(samples, &[(1000, 300), (3000, 500), (5000, 400)]);
        recording.about.losses.ring_full = 100;
        let calibration = Calibration::new(&recording);
        let of_stack_1 = recording.samples.iter().filter(|s| s.stack == 1);
        let bytes: f64 = of_stack_1.map(|s| calibration.weight(&recording.about, s).0).sum();
        near(sum(&calibration)[2].bytes.value, bytes);
    }

    #[test]
    fn without_counters_estimates_stay_as_they_are() {
        let mut recording = recording(vec![sample(0, 16); 100], &[]);
        recording.about.counters.clear();
        let calibration = Calibration::new(&recording);
        assert_eq!(calibration.exact(), None);
        let weight = weigh(16, R, 1.0);
        near(sum(&calibration)[0].bytes.value, 100.0 * weight.bytes.value);
        near(sum(&calibration)[0].bytes.variance, 100.0 * weight.bytes.variance);
        let interval = calibration.bytes_interval(&sum(&calibration)[0]);
        assert!(interval.low < 100.0 * R as f64 && interval.high > 100.0 * R as f64);
    }

    #[test]
    fn lost_samples_raise_weights_and_widen_intervals() {
        let mut recording = recording(vec![sample(0, 16); 100], &[]);
        recording.about.counters.clear();
        let whole = sum(&Calibration::new(&recording))[0];
        recording.about.losses.ring_full = 100;
        let half = sum(&Calibration::new(&recording))[0];
        near(half.bytes.value, 2.0 * whole.bytes.value);
        assert!(half.bytes.variance > 4.0 * whole.bytes.variance);
    }

    #[test]
    fn ticks_have_the_intervals_of_poisson_variables() {
        const PERIOD: u64 = 10_000_000;
        let tick = |stack| Sample { interval: PERIOD, counter: u32::MAX, ..sample(stack, PERIOD) };
        let about = About { source: Source::Cpu, ..About::default() };
        let samples = (0..110).map(|i| tick(u32::from(i >= 100))).collect();
        let calibration = Calibration::new(&Recording { about, samples, ..Recording::default() });
        let groups = sum(&calibration);
        assert_eq!((groups[2].bytes.value, groups[2].bytes.variance), (1e8, 1e15));
        // Garwood's interval of 10 events: [4.80, 18.39].
        let interval = calibration.bytes_interval(&groups[2]);
        assert!(
            (interval.low / 1e7 - 4.795).abs() < 0.01 && (interval.high / 1e7 - 18.39).abs() < 0.01,
            "{interval:?}"
        );
        let ticks = calibration.objects_interval(&groups[2]);
        assert!((ticks.low - 4.795).abs() < 0.01 && (ticks.high - 18.39).abs() < 0.01, "{ticks:?}");
        assert_eq!(calibration.exact(), None);
    }

    #[test]
    fn ticks_divide_the_cpu_time_that_the_kernel_accounts_for() {
        const PERIOD: u64 = 10_000_000;
        let tick = |stack| Sample { interval: PERIOD, ..sample(stack, PERIOD) };
        let cpu = CpuTime { period_ns: PERIOD, accounted_ns: Some(990_000_000) };
        let about = About { source: Source::Cpu, cpu: Some(cpu), ..About::default() };
        let samples: Vec<_> = (0..100).map(|i| tick(u32::from(i >= 75))).collect();
        let recording = Recording { about, samples, ..Recording::default() };
        let calibration = Calibration::new(&recording);
        assert_eq!(calibration.exact(), Some(Exact { calls: 100, bytes: 990_000_000 }));
        let groups = sum(&calibration);
        near(groups[0].bytes.value, 9.9e8);
        near(groups[1].bytes.value, 0.75 * 9.9e8);
        // Binomial: n r (1-r).
        near(groups[1].bytes.variance, 100.0 * 0.75 * 0.25 * 9.9e6 * 9.9e6);
        let whole = calibration.bytes_interval(&groups[0]);
        assert!(whole.high == 9.9e8 && whole.low < 9.9e8);

        let idle = Calibration::new(&Recording { samples: Vec::new(), ..recording });
        assert_eq!((idle.unattributed().bytes, idle.attributed().samples), (990_000_000, 0));
    }

    #[test]
    fn an_empty_recording_is_empty() {
        let calibration = Calibration::new(&Recording::default());
        assert_eq!(calibration.attributed(), Measure::default());
        assert_eq!((calibration.exact(), calibration.kept()), (None, 1.0));
        assert_eq!(calibration.bytes_interval(&Measure::default()), Interval::default());
    }

    #[test]
    fn sampled_without_an_interval_everything_is_exact() {
        let samples: Vec<_> = (0..10).map(|i| Sample { interval: 0, ..sample(i % 2, 100) }).collect();
        let calibration = Calibration::new(&recording(samples, &[(100, 10)]));
        let group = sum(&calibration)[1];
        assert_eq!(calibration.bytes_interval(&group), Interval { low: 500.0, high: 500.0 });
        assert_eq!(calibration.objects_interval(&group), Interval { low: 5.0, high: 5.0 });
    }
}
