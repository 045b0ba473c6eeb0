//! Recordings in windows: what adds up, what is claimed, and what files may not do.

use tracer_ebpf::abi::allocation::size_class;

use super::*;
use crate::estimate::epochs::Unbounded;
use crate::estimate::{Bounded, Interval};
use crate::recording::about::{Cost, Counter, Epoch, SizeClass, Window};
use crate::synthetic::Random;

const R: u64 = 4096;
const SECOND: u64 = 1_000_000_000;

/// A window of 100 ms in an epoch of 1 s, of a target that takes all the CPU time of one CPU.
fn epoch(k: u64, calls: u64) -> Epoch {
    Epoch {
        start_ns: k * SECOND,
        length_ns: SECOND,
        probability: 0.1,
        cpu_ns: SECOND,
        window: Window {
            start_ns: k * SECOND,
            length_ns: SECOND / 10,
            cpu_ns: SECOND / 10,
            hits: calls,
            calls,
            bytes: calls * 64,
            ..Window::default()
        },
        ..Epoch::default()
    }
}

/// Blocks of 64 bytes, a tenth of them by stack 1; one sample for each 4 KiB.
fn recording(calls: &[u64], hit_ns: f64) -> Recording {
    let mut recording = Recording::default();
    for (k, &calls) in (0..).zip(calls) {
        recording.about.epochs.push(epoch(k.into(), calls));
        for i in 0..calls * 64 / R {
            let stack = u32::from(i % 10 == 0);
            recording.samples.push(Sample { stack, size: 64, interval: R, epoch: k, ..Sample::default() });
        }
    }
    let calls: u64 = calls.iter().sum();
    let classes = vec![SizeClass { class: size_class(64) as u8, calls, bytes: calls * 64 }];
    recording.about.counters = vec![Counter { classes, ..Counter::default() }];
    let (hit_ns_low, hit_ns_high) = (hit_ns * 0.8, hit_ns * 1.2);
    recording.about.cost = Some(Cost { hit_ns, hit_ns_low, hit_ns_high, ..Cost::default() });
    recording
}

fn near(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-9 * b.abs(), "{a} is not {b}");
}

fn bytes_of(totals: Totals) -> Bounded {
    match totals {
        Totals::Estimated { bytes, .. } => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tenth_of_the_time_stands_for_all_of_it() {
    // 64,000 hits of 100 ns in 100 ms: 93.6 ms are the program's own, of 993.6 ms.
    let calibration = Calibration::new(&recording(&[64_000; 20], 100.0));
    let truth = 20.0 * 64_000.0 * 64.0 * 993.6 / 93.6;
    let total = bytes_of(calibration.totals());
    near(total.value, truth);
    assert!(total.interval.low < 0.99 * truth && total.interval.high > 1.01 * truth);
    assert!(total.interval.low > 0.9 * truth && total.interval.high < 1.1 * truth, "{total:?}");
    assert_eq!(calibration.exact(), None);
    near(calibration.attributed().bytes.value, truth);
    let groups = calibration.sum(2, |stack, groups| groups.add(stack));
    near(groups[0].bytes.value + groups[1].bytes.value, truth);
    let share = calibration.share_interval(&groups[1]);
    assert!(share.low > 0.08 && share.low < 0.1 && share.high > 0.1 && share.high < 0.12, "{share:?}");
}

#[test]
fn single_weights_add_up_to_the_groups() {
    let calls: Vec<u64> = (0..20).map(|k| 10_000 + 3_000 * (k % 5)).collect();
    let mut recording = recording(&calls, 600.0);
    recording.about.epochs[3].probability = 0.02;
    recording.about.epochs[7].probability = 1.0;
    let calibration = Calibration::new(&recording);
    let groups = calibration.sum(2, |stack, groups| groups.add(stack));
    for stack in 0..2 {
        let of_stack = recording.samples.iter().filter(|s| s.stack == stack);
        let weights = of_stack.map(|s| calibration.weight(&recording.about, s));
        let sum = weights.fold((0.0, 0.0), |sum, weight| (sum.0 + weight.0, sum.1 + weight.1));
        near(groups[stack as usize].bytes.value, sum.0);
        near(groups[stack as usize].objects.value, sum.1);
    }
    near(bytes_of(calibration.totals()).value, groups[0].bytes.value + groups[1].bytes.value);
}

#[test]
fn epochs_that_were_watched_throughout_are_exact() {
    let mut whole = recording(&[1000, 2000], 600.0);
    for epoch in &mut whole.about.epochs {
        epoch.probability = 1.0;
    }
    let calibration = Calibration::new(&whole);
    assert_eq!(calibration.exact(), Some(Exact { calls: 3000, bytes: 192_000 }));
    // Ended early: it was not watched throughout.
    whole.about.epochs[1].window.capped = true;
    assert_eq!(Calibration::new(&whole).exact(), None);
}

#[test]
fn a_program_that_is_slowed_too_much_has_lower_bounds() {
    // 150,000 hits of 600 ns: 90 of 100 ms.
    let calibration = Calibration::new(&recording(&[150_000; 10], 600.0));
    let Totals::AtLeast { bytes, objects, because } = calibration.totals() else {
        panic!("{:?}", calibration.totals());
    };
    assert!(matches!(because, Unbounded::Slowed(by) if (by.times - 10.0).abs() < 0.01), "{because:?}");
    // At 480 ns a hit, 28 ms were the program's own: no more than that is sure.
    let sure = 10.0 * 150_000.0 * 64.0 * 928.0 / 28.0;
    assert!(bytes < sure && bytes > 0.8 * sure, "{bytes} for {sure}");
    near(bytes / 64.0, objects);
    near(calibration.attributed().bytes.value, bytes);
    let groups = calibration.sum(2, |stack, groups| groups.add(stack));
    let share = calibration.share_interval(&groups[1]);
    assert!(share.low > 0.08 && share.low < 0.1 && share.high > 0.1 && share.high < 0.12, "{share:?}");
}

#[test]
fn what_a_hit_costs_bounds_a_program_that_is_slowed_twice() {
    // 100,000 hits of 500 (400 to 600) ns: 50 (40 to 60) of 100 ms.
    let calibration = Calibration::new(&recording(&[100_000; 100], 500.0));
    let total = bytes_of(calibration.totals());
    let own = |in_window: f64| 100_000.0 * 64.0 * 100.0 * (900.0 + in_window) / in_window;
    near(total.value, own(50.0));
    let Interval { low, high } = total.interval;
    assert!(low < own(60.0) && low > 0.99 * own(60.0), "{low}");
    assert!(high > own(40.0) && high < 1.01 * own(40.0), "{high}");
    // A group is as uncertain as everything, and its share hardly at all.
    let groups = calibration.sum(2, |stack, groups| groups.add(stack));
    let interval = calibration.bytes_interval(&groups[0]);
    assert!(interval.low < 0.9 * own(60.0) && interval.high > 0.895 * own(40.0), "{interval:?}");
    assert!(interval.high < 0.92 * own(40.0), "{interval:?}");
    let share = calibration.share_interval(&groups[1]);
    assert!(share.low > 0.09 && share.high < 0.11, "{share:?}");
    let objects = calibration.objects_interval(&groups[0]);
    assert!(objects.low > interval.low / 65.0 && objects.high < interval.high / 63.0, "{objects:?} {interval:?}");
}

#[test]
fn without_the_cost_of_a_hit_there_are_lower_bounds() {
    let mut recording = recording(&[64_000; 10], 100.0);
    recording.about.cost = None;
    let totals = Calibration::new(&recording).totals();
    assert!(matches!(totals, Totals::AtLeast { because: Unbounded::CostUnknown, .. }), "{totals:?}");
}

#[test]
fn windows_that_never_saw_the_target_run_bound_nothing() {
    let mut recording = recording(&[0; 10], 100.0);
    recording.about.epochs.iter_mut().for_each(|epoch| epoch.window.cpu_ns = 0);
    let totals = Calibration::new(&recording).totals();
    assert!(matches!(totals, Totals::AtLeast { because: Unbounded::Unseen, bytes: 0.0, .. }), "{totals:?}");
}

#[test]
fn one_window_is_not_enough_for_more_than_an_order_of_magnitude() {
    let total = bytes_of(Calibration::new(&recording(&[64_000], 100.0)).totals());
    assert!(total.interval.high > 2.0 * total.value && total.interval.low < 0.5 * total.value, "{total:?}");
}

#[test]
fn calls_without_samples_are_scaled_too() {
    let mut recording = recording(&[64_000; 10], 100.0);
    recording.about.counters[0].classes.insert(0, SizeClass { class: 0, calls: 5000, bytes: 0 });
    recording.about.epochs.iter_mut().for_each(|epoch| epoch.window.calls += 500);
    let calibration = Calibration::new(&recording);
    assert_eq!(calibration.unattributed(), Exact { calls: 5000, bytes: 0 });
    near(calibration.unattributed_measure().objects.value, 5000.0 * 993.6 / 93.6);
    let Totals::Estimated { objects, .. } = calibration.totals() else { panic!("{:?}", calibration.totals()) };
    near(calibration.attributed().objects.value + calibration.unattributed_measure().objects.value, objects.value);
}

/// Whatever a file says of epochs: numbers are numbers, and intervals hold their estimates.
#[test]
fn nonsense_in_a_file_stays_finite() {
    let mut random = Random::new(9);
    for _ in 0..2000 {
        let mut recording = recording(&[1000, 5000, 2000, 3000], 600.0);
        let mut number = || match random.below(7) {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => random.below(SECOND),
            _ => random.below(100_000),
        };
        for epoch in &mut recording.about.epochs {
            let window = &mut epoch.window;
            let fields = [&mut epoch.length_ns, &mut epoch.cpu_ns, &mut window.length_ns, &mut window.planned_ns];
            for field in fields.into_iter().chain([&mut window.cpu_ns, &mut window.hits, &mut window.bytes]) {
                if number() % 2 == 0 {
                    *field = number();
                }
            }
            let odd = [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300, 0.5, 1.0];
            epoch.probability = odd[number() as usize % odd.len()];
            let cost = recording.about.cost.as_mut().unwrap();
            cost.hit_ns_low = [0.0, -5.0, f64::NAN, 1e300, 500.0][number() as usize % 5];
        }
        let calibration = Calibration::new(&recording);
        for group in calibration.sum(2, |stack, groups| groups.add(stack)) {
            let (share, bytes, objects) = (
                calibration.share_interval(&group),
                calibration.bytes_interval(&group),
                calibration.objects_interval(&group),
            );
            for interval in [share, bytes, objects] {
                assert!(interval.low >= 0.0 && interval.low <= interval.high, "{interval:?} in {:?}", recording.about);
                assert!(!interval.high.is_nan(), "{interval:?} in {:?}", recording.about);
            }
            assert!(share.high.is_finite() && bytes.high.is_finite(), "{share:?} {bytes:?} in {:?}", recording.about);
            assert!(bytes.low <= group.bytes.value * (1.0 + 1e-9), "{bytes:?} of {group:?}");
        }
        match calibration.totals() {
            Totals::Exact(_) => {}
            Totals::Estimated { bytes, objects } => {
                assert!(bytes.interval.high.is_finite() && objects.interval.high.is_finite());
            }
            Totals::AtLeast { bytes, objects, .. } => assert!(bytes.is_finite() && objects.is_finite()),
        }
    }
}
