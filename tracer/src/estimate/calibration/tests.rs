use tracer_ebpf::abi::allocation::size_class;

use super::*;
use crate::estimate::Interval;
use crate::recording::about::{Counter, SizeClass};

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
    let most = Measure { samples: 6, objects: Estimate { value: 6.0, variance: 0.0 }, ..group };
    assert_eq!(calibration.objects_interval(&most), Interval { low: 6.0, high: 6.0 });
}
