//! How long blocks live, against a program that says it of every block; the recording is shorter than the longest life.

use std::{collections::BTreeMap, fs, path::Path};

use tracer::{
    estimate::{
        inclusion::weigh,
        survival::{Observed, Quantile, Survival},
    },
    probe::live::LiveOptions,
    record::{interval::IntervalSetting, live::Fate, raw::RawRecording, request::Request},
};

use crate::{
    programs::{Build, Compiler, Program},
    recording::{alone, record, request},
};

/// Two seconds of them, where the machine is fast enough.
const BLOCKS: &str = "100000";
/// A tenth to a fifth of the blocks is sampled.
const INTERVAL: u64 = 10 << 10;
/// Groups of each kind; see `programs/lifetimes.c`.
const GROUPS: usize = 100;
/// The part of a life that sampling its block may add.
const LONGER: u64 = 1000;
const EXPONENTIAL: std::ops::Range<u64> = 1000..2000;
const CONSTANT: std::ops::Range<u64> = 2000..3000;
const FOR_EVER: u64 = 3000;

/// Ages of the blocks of each size, and whether they were released.
type Groups = BTreeMap<u64, Vec<Observed>>;

fn medians(groups: &Groups) -> BTreeMap<u64, Quantile> {
    groups.iter().map(|(&size, blocks)| (size, Survival::new(blocks.clone()).quantile(0.5))).collect()
}

/// The shortest and the longest that all blocks can have lived by what the program says.
fn truth(file: &Path) -> [Groups; 2] {
    let mut truth = [Groups::new(), Groups::new()];
    for line in fs::read_to_string(file).expect("the program has written it").lines() {
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().expect("a number")).collect();
        let [size, inner, outer, released] = numbers[..] else { panic!("{line}") };
        for (groups, age_ns) in truth.iter_mut().zip([inner, outer]) {
            groups.entry(size).or_default().push(Observed { age_ns, released: released != 0, weight: 1.0 });
        }
    }
    truth
}

/// What the samples know.
fn sampled(recording: &RawRecording) -> Groups {
    let mut groups = Groups::new();
    let end = recording.start_ns + recording.duration.as_nanos() as u64;
    for sample in recording.parts.samples.iter().filter(|sample| sample.size >= EXPONENTIAL.start) {
        let until = match sample.fate {
            Fate::Unknown => panic!("a block was not followed"),
            Fate::InUse => end,
            Fate::Released { ns, .. } => ns,
        };
        groups.entry(sample.size).or_default().push(Observed {
            age_ns: until - sample.time_ns,
            released: sample.fate != Fate::InUse,
            weight: weigh(sample.size, sample.interval, 1.0).objects.value,
        });
    }
    groups
}

#[test]
fn medians_lie_in_their_intervals() {
    let Some(_guard) = alone() else { return };
    let path = Build::new(Compiler::Gcc, "lifetimes.c", &["-O2", "-lm"]).compile();
    let file = path.with_extension("lives");
    let mut program = Program::start(&path, &[BLOCKS, &file.to_string_lossy()], None);
    let live = LiveOptions { blocks: 1 << 18, sessions: true };
    let wanted = Request { live: Some(live), ..request(IntervalSetting::Fixed(INTERVAL)) };
    let (recording, said) = record(program.pid(), wanted, || {
        program.go();
        program.line()
    });
    assert_eq!(said, "done");
    program.finish();
    assert_eq!(recording.losses.samples(), 0);
    let [shortest, longest] = truth(&file).map(|groups| medians(&groups));
    let groups = sampled(&recording);
    let estimates = medians(&groups);
    for (kind, sizes) in [("exponential", EXPONENTIAL), ("constant", CONSTANT)] {
        let of_kind: Vec<_> = estimates.range(sizes.clone()).collect();
        let samples: usize = groups.range(sizes).map(|(_, blocks)| blocks.len()).sum();
        assert_eq!(of_kind.len(), GROUPS, "{kind}: each group has samples");
        let holds = |(size, median): &&(&u64, &Quantile)| {
            let shortest = shortest[size].value.expect("half are released");
            let longest = longest[size].value.expect("half are released");
            // A sampled call takes some microseconds longer than others, which its block lives for besides.
            median.low <= longest + longest / LONGER
                && median.high.is_none_or(|high| shortest - shortest / LONGER <= high)
        };
        let held = of_kind.iter().filter(holds).count();
        println!("{kind}: {held} of {GROUPS} intervals hold the median; {samples} samples");
        // 86 of 100 come by chance once in ten thousand times.
        assert!(held >= 86, "{kind}: {held}");
        assert!(of_kind.iter().all(|(_, median)| median.value.is_some()), "{kind}");
    }
    let Quantile { value, low, high } = estimates[&FOR_EVER];
    assert_eq!((value, high), (None, None), "none of them was released");
    assert!(low > 0 && u128::from(low) < recording.duration.as_nanos(), "{low}");
}
