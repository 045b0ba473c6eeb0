//! The samples whose fate is known, where releases were followed.

use std::borrow::Cow;

use super::measure::Exact;
use crate::recording::{Recording, Sample};

/// A recording as far as it is known what became of blocks. It has samples only, no stacks or names; whatever is estimated of
/// blocks in use is weighed among these.
///
/// Functions of which no sample was followed are left out with all that was counted of them ([`not_followed`]). Other blocks
/// that should have been followed and were not count as lost: the other blocks of their size class speak for them. Samples without
/// a block are left out then, among them those whose call gave none or had not returned: these cannot be told apart. Where all were
/// followed, they stay: they are calls that the exact counters have counted, and nothing of them is in use.
pub fn followed(recording: &Recording) -> Cow<'_, Recording> {
    let missed = recording.about.live.as_ref().map_or(0, |live| live.not_followed);
    if missed == 0 {
        return Cow::Borrowed(recording);
    }
    let mut about = recording.about.clone();
    let counter = |sample: &Sample| (sample.counter as usize).min(recording.about.counters.len());
    let mut has_blocks = vec![false; about.counters.len() + 1];
    for sample in recording.samples.iter().filter(|sample| sample.block.is_some()) {
        has_blocks[counter(sample)] = true;
    }
    for (counter, _) in about.counters.iter_mut().zip(&has_blocks).filter(|(_, has_blocks)| !**has_blocks) {
        counter.classes.clear();
    }
    let of_others = recording.samples.iter().filter(|sample| !has_blocks[counter(sample)]).count() as u64;
    let missed = missed.saturating_sub(of_others);
    let known = |sample: &&Sample| has_blocks[counter(sample)] && (missed == 0 || sample.block.is_some());
    let samples: Vec<Sample> = recording.samples.iter().filter(known).cloned().collect();
    // As many were lost of those followed as of all.
    let share = samples.len() as f64 / recording.samples.len().max(1) as f64;
    let lost = (about.losses.samples() as f64 * share).round() as u64;
    about.losses.ring_full = lost.saturating_add(missed);
    (about.losses.scratch_busy, about.losses.undecodable) = (0, 0);
    Cow::Owned(Recording { about, samples, ..Recording::default() })
}

/// What was counted of functions of which no sample was followed. `followed` is what [`followed`] made of the recording.
pub fn not_followed(recording: &Recording, followed: &Recording) -> Exact {
    let mut counted = Exact::default();
    for (counter, left) in recording.about.counters.iter().zip(&followed.about.counters) {
        for class in counter.classes.iter().filter(|_| left.classes.is_empty()) {
            counted += Exact { calls: class.calls, bytes: class.bytes };
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::Calibration;
    use crate::recording::Block;
    use crate::recording::about::{About, Counter, Live, SizeClass};

    /// 100 calls of two functions each, all sampled. Those of the first were followed, but for `missed` of them.
    fn recording(missed: u64) -> Recording {
        let counter =
            || Counter { classes: vec![SizeClass { class: 5, calls: 100, bytes: 1600 }], ..Counter::default() };
        let samples = (0..200).map(|i| Sample {
            size: 16,
            counter: i / 100,
            stack: i / 100,
            block: (missed..100)
                .contains(&u64::from(i))
                .then(|| Block { released_ns: (i % 2 == 0).then_some(u64::from(i)), released_by: 0 }),
            ..Sample::default()
        });
        let live = Live { not_followed: 100 + missed, ..Live::default() };
        let about = About { counters: vec![counter(), counter()], live: Some(live), ..About::default() };
        Recording { about, samples: samples.collect(), ..Recording::default() }
    }

    #[test]
    fn functions_that_are_not_followed_are_left_out_and_the_others_stay_exact() {
        let recording = recording(0);
        let followed = followed(&recording);
        assert_eq!(not_followed(&recording, &followed), Exact { calls: 100, bytes: 1600 });
        let calibration = Calibration::new(&followed);
        assert_eq!(calibration.unattributed(), Exact::default());
        let in_use = |_, sample: &Sample| sample.block?.released_ns.is_none().then_some(0);
        let in_use = calibration.select(&followed, in_use);
        let all = in_use.attributed();
        assert_eq!((all.bytes.value, all.bytes.variance), (800.0, 0.0));
        let interval = in_use.bytes_interval(&all);
        assert_eq!((interval.low, interval.high), (800.0, 800.0));
    }

    #[test]
    fn blocks_that_were_missed_are_spoken_for() {
        let recording = recording(20);
        let followed = followed(&recording);
        assert_eq!((followed.samples.len(), followed.about.losses.samples()), (80, 20));
        let released = |_, sample: &Sample| sample.block?.released_ns.map(|_| 0);
        let all = Calibration::new(&followed).select(&followed, released).attributed();
        assert!((all.bytes.value - 800.0).abs() < 1e-9 && all.bytes.variance > 0.0);
    }
}
