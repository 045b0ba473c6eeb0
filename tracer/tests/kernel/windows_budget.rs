//! The budget holds over any five seconds, whatever the target does.

use std::{thread, time::Duration};

use tracer::{
    record::{
        budget::{FREE, SPAN},
        interval::IntervalSetting,
        request::Request,
    },
    recording::about::{Cost, Epoch},
};

use crate::{
    recording::{alone, record, request},
    storm::{Rhythm, Storm},
};

const SHARE: f64 = 0.02;
/// The first second, in which the target is got to know, is not part of the promise.
const BEGINNING: f64 = 1.0;

/// What passed in one or more epochs, in seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    length: f64,
    cpu: f64,
    spent: f64,
}

impl Passed {
    fn of(epoch: &Epoch, hit_ns: f64) -> Self {
        let [length, cpu, sampling] = [epoch.length_ns, epoch.cpu_ns, epoch.sampling_ns].map(|ns| ns as f64 / 1e9);
        Self { length, cpu, spent: epoch.hits as f64 * hit_ns / 1e9 + sampling }
    }

    fn with(self, next: Self) -> Self {
        Self { length: self.length + next.length, cpu: self.cpu + next.cpu, spent: self.spent + next.spent }
    }

    /// What may be spent: the budget's share of the target's CPU time, and what is nobody's concern.
    fn allowed(self) -> f64 {
        SHARE * self.cpu + FREE * self.length
    }
}

/// Upper end of what a hit costs that is not sampled, in nanoseconds.
fn hit_ns(cost: &Cost, epochs: &[Epoch]) -> f64 {
    let sampling: u64 = epochs.iter().map(|epoch| epoch.sampling_ns).sum();
    cost.hit_ns_high - sampling as f64 / cost.hits as f64
}

#[test]
fn a_target_that_rests_and_storms_is_within_the_budget_over_any_five_seconds() {
    let Some(_guard) = alone() else { return };
    let mut storm = Storm::endless(1, Rhythm { on_ms: 3000, off_ms: 3000 });
    let request = Request { max_overhead: Some(SHARE), ..request(IntervalSetting::Auto) };
    let (recording, truth) = record(storm.pid(), request, || {
        storm.go();
        thread::sleep(Duration::from_secs(14));
        storm.stop()
    });
    storm.finish();
    let (epochs, cost) = (recording.epochs, recording.cost.expect("the cost is known"));
    assert_eq!(epochs.iter().map(|epoch| epoch.hits).sum::<u64>(), cost.hits);
    let hit_ns = hit_ns(&cost, &epochs);
    let passed: Vec<Passed> = epochs.iter().map(|epoch| Passed::of(epoch, hit_ns)).collect();
    let all = passed.iter().copied().fold(Passed::default(), Passed::with);
    println!("{truth:?}; {hit_ns:.0} ns a hit at most; {} epochs, {all:?}", epochs.len());
    // It was seen at work and at rest: the test means something.
    assert!(all.length > 13.0 && all.cpu > 0.02 * all.length && all.cpu < 0.9 * all.length, "{all:?}");
    assert!(epochs.iter().any(|epoch| epoch.probability < 1.0 && epoch.window.calls > 0), "{epochs:#?}");

    let worst = worst_five_seconds(&passed).expect("five seconds were recorded");
    println!("{:.0} % of the budget at worst", 100.0 * worst);
    assert!(worst > 0.0 && worst <= 1.0, "{worst}: {passed:#?}\n{epochs:#?}");
}

/// The largest part of what may be spent that was, over all shortest runs of whole epochs that take five seconds.
fn worst_five_seconds(passed: &[Passed]) -> Option<f64> {
    let mut begin = 0.0;
    let mut worst: Option<f64> = None;
    for (first, epoch) in passed.iter().enumerate() {
        if begin >= BEGINNING {
            let mut sum = Passed::default();
            if passed[first..].iter().any(|next| {
                sum = sum.with(*next);
                sum.length >= SPAN
            }) {
                worst = Some(worst.unwrap_or(0.0).max(sum.spent / sum.allowed()));
            }
        }
        begin += epoch.length;
    }
    worst
}

#[test]
fn the_worst_five_seconds_are_found() {
    let second = |spent| Passed { length: 1.0, cpu: 1.0, spent };
    let allowed = SHARE + FREE;
    let mut passed = vec![second(0.5 * allowed); 12];
    // In the first second anything goes.
    passed[0] = second(1.0);
    assert!((worst_five_seconds(&passed).expect("there are five") - 0.5).abs() < 1e-9);
    passed[11] = second(5.0 * allowed);
    assert!((worst_five_seconds(&passed).expect("there are five") - 1.4).abs() < 1e-9);
    assert_eq!(worst_five_seconds(&passed[..5]), None);
}
