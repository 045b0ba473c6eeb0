use tracer_ebpf::abi::sample::{Frame, Sample as Header, WalkStatus};

use super::*;
use crate::{estimate::inclusion::weigh, record::decode::RawSample};

pub fn sample(size: u64, interval: u64) -> RawSample {
    let header = Header {
        kind: 1,
        process: 1,
        thread: 1,
        function: 0,
        time_ns: 0,
        size,
        interval,
        stopped_at: 0,
        frame_count: 0,
        frame_pointer_frames: 0,
        status: 0,
        stopped_in: 0,
        thread_name: [0; 16],
    };
    RawSample { header, status: WalkStatus::Complete, frames: vec![Frame(1)] }
}

/// Mean, and standard error of the mean.
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, (variance / count).sqrt())
}

pub fn assert_unbiased(what: &str, values: &[f64], truth: f64) {
    let (mean, error) = mean(values);
    assert!((mean - truth).abs() < 4.0 * error, "{what}: {mean} ± {error}, in truth {truth}");
}

/// Blocks of all sizes: from far below the intervals to far above.
fn sizes() -> Vec<u64> {
    (0..400).map(|i| [8, 24, 100, 700, 5000, 40_000, 300_000][i % 7] + i as u64).collect()
}

fn total(samples: &Samples) -> (f64, f64, f64) {
    let weighed = samples.iter().map(|sample| weigh(sample.size, sample.interval, 1.0));
    weighed.fold((0.0, 0.0, 0.0), |(bytes, objects, variance), measure| {
        (bytes + measure.bytes.value, objects + measure.objects.value, variance + measure.bytes.variance)
    })
}

#[test]
fn thinned_samples_estimate_the_same() {
    let sizes = sizes();
    let truth: u64 = sizes.iter().sum();
    let mut random = Random::new(1);
    let (mut bytes, mut objects, mut covered) = (Vec::new(), Vec::new(), 0);
    for _ in 0..3000 {
        let mut samples = Samples::default();
        for &size in &sizes {
            // Two intervals were in force by turns; the second is no smaller than that thinned to first.
            let interval = if size % 2 == 0 { 1000 } else { 6000 };
            if random.unit() < probability(size, interval) {
                samples.push(sample(size, interval), Frame(0));
            }
        }
        thin(&mut samples, Unit::Bytes, 4000, |_| true, &mut random);
        assert!(samples.iter().all(|sample| sample.interval >= 4000));
        thin(&mut samples, Unit::Bytes, 20_000, |_| true, &mut random);
        let (b, o, variance) = total(&samples);
        covered += u32::from((b - truth as f64).abs() < 1.96 * variance.sqrt());
        bytes.push(b);
        objects.push(o);
    }
    assert_unbiased("bytes", &bytes, truth as f64);
    assert_unbiased("objects", &objects, sizes.len() as f64);
    // The variance is that of the larger interval.
    assert!((2700..2970).contains(&covered), "{covered} of 3000 intervals hold the truth");
}

#[test]
fn every_allocation_sampled_can_be_thinned_too() {
    let mut random = Random::new(2);
    let estimates: Vec<f64> = (0..2000)
        .map(|_| {
            let mut samples = Samples::default();
            for size in sizes() {
                samples.push(sample(size, 0), Frame(0));
            }
            thin(&mut samples, Unit::Bytes, 5000, |_| true, &mut random);
            total(&samples).0
        })
        .collect();
    assert_unbiased("bytes", &estimates, sizes().iter().sum::<u64>() as f64);
}

/// A heap that grows, with blocks that come and go, and room for a few hundred samples: when there are too many, they are
/// thinned. When that is depends on the samples; the estimate of what is in use must not suffer.
#[test]
fn what_is_in_use_is_estimated_without_bias_in_bounded_memory() {
    const ROOM: usize = 200;
    let mut random = Random::new(3);
    let mut estimates = Vec::new();
    let (mut bytes_in_use, mut most, mut raised) = (0, 0, 0);
    for _ in 0..1500 {
        let (mut samples, mut interval) = (Samples::default(), 0);
        bytes_in_use = 0;
        for step in 0..3000u64 {
            let size = [16, 160, 1600, 16_000][(step % 4) as usize] + step % 13;
            // Every third block stays.
            if step % 3 != 0 {
                continue;
            }
            bytes_in_use += size;
            if interval == 0 || random.unit() < probability(size, interval) {
                samples.push(sample(size, interval), Frame(0));
            }
            if samples.len() > ROOM * 3 / 4 {
                interval = Sizes::of(Unit::Bytes, samples.iter()).interval_for(ROOM / 2, interval);
                thin(&mut samples, Unit::Bytes, interval, |_| true, &mut random);
                raised += 1;
            }
            most = most.max(samples.len());
        }
        estimates.push(total(&samples).0);
    }
    assert!(most <= ROOM, "{most} samples");
    assert!(raised > 3 * 1500, "{raised}");
    assert_unbiased("bytes in use", &estimates, bytes_in_use as f64);
}

#[test]
fn places_say_where_samples_went() {
    let mut samples = Samples::default();
    for size in 1..=1000 {
        samples.push(sample(size, 0), Frame(0));
    }
    let places = thin(&mut samples, Unit::Bytes, 256, |index| index >= 10, &mut Random::new(4));
    assert_eq!(places.len(), 1000);
    assert!((0..10).all(|index| places[index as usize] == Some(index)), "these must not go");
    assert!(samples.iter().all(|sample| sample.interval == if sample.size <= 10 { 0 } else { 256 }));
    assert!((100..1000).contains(&samples.len()));
    for (before, place) in places.iter().enumerate() {
        if let Some(place) = place {
            assert_eq!(samples.get(*place).unwrap().size, before as u64 + 1);
        }
    }
    assert_eq!(places.iter().flatten().count(), samples.len());
}

#[test]
fn the_interval_is_large_enough_and_ends_somewhere() {
    let sizes = |size, count| Sizes { unit: Unit::Bytes, counts: HashMap::from([((size, 0), count)]) };
    let samples = sizes(100, 1000);
    let interval = samples.interval_for(500, 0);
    assert!(samples.expected(interval) <= 500.0 && interval == LEAST);
    assert!(samples.interval_for(500, 4096) == 8192, "it grows whatever the samples are");
    assert_eq!(sizes(u64::MAX, 1).interval_for(0, 0), MOST);
}

#[test]
fn ticks_that_are_kept_stand_for_the_others() {
    let mut random = Random::new(5);
    let estimates: Vec<f64> = (0..2000)
        .map(|_| {
            let mut samples = Samples::default();
            (0..300).for_each(|_| samples.push(sample(1000, 1000), Frame(0)));
            thin(&mut samples, Unit::Time, 3000, |_| true, &mut random);
            (0..100).for_each(|_| samples.push(sample(1000, 1000), Frame(0)));
            thin(&mut samples, Unit::Time, 8000, |_| true, &mut random);
            assert!(samples.iter().all(|sample| (sample.size, sample.interval) == (8000, 8000)));
            samples.iter().map(|sample| sample.size as f64).sum()
        })
        .collect();
    assert_unbiased("time", &estimates, 400.0 * 1000.0);
}
