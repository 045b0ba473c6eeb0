//! Many more threads than CPUs allocate at once: nothing hangs, nothing is lost, nothing of the target's is disturbed.

use tracer::record::{interval::IntervalSetting, raw::RawRecording, request::Request};

use crate::{
    recording::{alone, record, request},
    storm::{Storm, Truth},
};

const THREADS: u32 = 64;

fn run(calls_of_each: u64, max_overhead: Option<f64>) -> (RawRecording, Truth) {
    let mut storm = Storm::of(THREADS, calls_of_each);
    let request = Request { max_overhead, ..request(IntervalSetting::Auto) };
    let (recording, truth) = record(storm.pid(), request, || {
        storm.go();
        storm.stop()
    });
    // It has checked each block that it released.
    storm.finish();
    assert_eq!(truth.calls, u64::from(THREADS) * calls_of_each);
    assert_eq!((recording.losses.samples(), recording.losses.events), (0, 0));
    (recording, truth)
}

fn counted(recording: &RawRecording) -> Truth {
    let classes = recording.counters.iter().flatten();
    classes.fold(Truth { calls: 0, bytes: 0 }, |sum, class| Truth {
        calls: sum.calls + class.calls,
        bytes: sum.bytes + class.bytes,
    })
}

#[test]
fn calls_of_many_threads_are_counted_exactly() {
    let Some(_guard) = alone() else { return };
    let (recording, truth) = run(100 * 256, None);
    assert_eq!(counted(&recording), truth);
    assert!(recording.epochs.is_empty(), "probes left though there is no budget");
    assert!(!recording.parts.samples.is_empty());
    println!("{truth:?}, {} samples", recording.parts.samples.len());
}

#[test]
fn windows_over_many_threads_end_and_lose_nothing() {
    let Some(_guard) = alone() else { return };
    let (recording, truth) = run(20_000 * 256, Some(0.02));
    let windows = recording.epochs.iter().filter(|epoch| epoch.window.calls > 0).count();
    println!("{truth:?}, {windows} windows, {:?}", counted(&recording));
    assert!(recording.epochs.iter().any(|epoch| epoch.probability < 1.0), "{:#?}", recording.epochs);
    let Truth { calls, bytes } = counted(&recording);
    assert!(calls > 0 && calls < truth.calls && bytes < truth.bytes, "{calls} calls, {bytes} bytes of {truth:?}");
    let sum = |of: fn(&tracer::recording::about::Window) -> u64| -> u64 {
        recording.epochs.iter().map(|epoch| of(&epoch.window)).sum()
    };
    assert_eq!((sum(|window| window.calls), sum(|window| window.bytes)), (calls, bytes));
}
