//! What epochs hold is what was counted, and samples are in the epochs that they name.

use std::{thread, time::Duration};

use tracer::record::{assemble::assemble, interval::IntervalSetting, raw::RawRecording, request::Request};

use crate::{
    recording::{EVERY, alone, record, request},
    storm::{Rhythm, Storm},
};

/// Records some windows of a storm with the default budget.
fn windows(threads: u32, interval: IntervalSetting) -> RawRecording {
    let mut storm = Storm::endless(threads, Rhythm::STEADY);
    let request = Request { max_overhead: Some(0.02), ..request(interval) };
    let (recording, truth) = record(storm.pid(), request, || {
        storm.go();
        thread::sleep(Duration::from_secs(5));
        storm.stop()
    });
    storm.finish();
    let windows = recording.epochs.iter().filter(|epoch| epoch.window.calls > 0).count();
    println!("{truth:?}, {windows} windows in {} epochs", recording.epochs.len());
    assert!(windows >= 2, "{:#?}", recording.epochs);
    assert_eq!(recording.losses.samples(), 0);
    recording
}

#[test]
fn epochs_add_up_to_the_counters() {
    let Some(_guard) = alone() else { return };
    let recording = windows(2, IntervalSetting::Auto);
    let sum = |of: fn(&tracer::recording::about::Epoch) -> u64| recording.epochs.iter().map(of).sum::<u64>();
    let counters = recording.counters.iter().flatten();
    let (calls, bytes) = counters.fold((0, 0), |(calls, bytes), class| (calls + class.calls, bytes + class.bytes));
    assert_eq!((sum(|epoch| epoch.window.calls), sum(|epoch| epoch.window.bytes)), (calls, bytes));
    let cost = recording.cost.as_ref().expect("the cost is known");
    // Hits that did not count cost as much, and are not left out.
    assert_eq!(sum(|epoch| epoch.hits), cost.hits);
    assert!(sum(|epoch| epoch.window.hits) <= cost.hits, "{cost:?}");
    // One after the other, without a gap.
    for pair in recording.epochs.windows(2) {
        assert!((pair[0].start_ns + pair[0].length_ns).abs_diff(pair[1].start_ns) <= 10, "{pair:?}");
    }
}

#[test]
fn samples_are_in_the_epochs_that_they_name() {
    let Some(_guard) = alone() else { return };
    // One thread, and every call a sample: each epoch has as many samples as calls.
    let recording = assemble(windows(1, EVERY));
    let epochs = &recording.about.epochs;
    let mut samples = vec![0u64; epochs.len()];
    for sample in &recording.samples {
        samples[sample.epoch as usize] += 1;
        let window = &epochs[sample.epoch as usize].window;
        assert!(sample.time_ns >= window.start_ns, "{sample:?}: {window:?}");
    }
    let calls: u64 = epochs.iter().map(|epoch| epoch.window.calls).sum();
    assert_eq!(recording.samples.len() as u64, calls);
    for (epoch, samples) in epochs.iter().zip(samples) {
        // The call that was under way when a window was closed counts in the next one.
        assert!(samples.abs_diff(epoch.window.calls) <= 1, "{samples} samples: {epoch:?}");
    }
}
