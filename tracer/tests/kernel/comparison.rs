//! How sampled stacks compare with the truth: one by one, and counted over a recording.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    path::Path,
    sync::Arc,
};

use tracer::record::raw::RawRecording;
use tracer_ebpf::abi::sample::{Frame, WalkStatus};

use crate::{
    names::Names,
    truth::{Place, Truth, real_path},
};

/// How a sample's stack compares with the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every frame is right and none is missing.
    Exact,
    /// Every frame is right, and the sample says itself that it is not complete.
    CorrectPrefix,
    /// A frame is wrong, or frames are missing without notice, or there are too many. Holds the first index that differs.
    Wrong(usize),
}

/// The frames between the allocation function and the program: the function itself and the shim's wrapper.
const ENTRY_FRAMES: usize = 2;
/// Bytes of a wrapper's code: the two calls that it makes lie less than this apart.
const WRAPPER_BYTES: u64 = 512;

/// Compares a sample's stack (allocation function first) with the shim's (wrapper first). They have the wrapper in common
/// but not the address in it, which is that of two different calls.
pub fn compare(sample: &[Place], status: WalkStatus, truth: &[Place]) -> Verdict {
    let complete = status == WalkStatus::Complete;
    let [wrapper, truth @ ..] = truth else { return Verdict::Wrong(0) };
    match sample.get(1) {
        Some(place) if place.module != wrapper.module || place.address.abs_diff(wrapper.address) >= WRAPPER_BYTES => {
            return Verdict::Wrong(1);
        }
        None if complete => return Verdict::Wrong(1),
        _ => {}
    }
    let sample = sample.get(ENTRY_FRAMES..).unwrap_or_default();
    let same = sample.iter().zip(truth).take_while(|(a, b)| a == b).count();
    if same == sample.len() && same == truth.len() {
        Verdict::Exact
    } else if same == sample.len() && !complete {
        Verdict::CorrectPrefix
    } else {
        Verdict::Wrong(ENTRY_FRAMES + same)
    }
}

/// What comes out of the comparison of a recording with the truth.
#[derive(Debug, Default)]
pub struct Report {
    /// Samples that lead to a record of the shim.
    pub samples: u64,
    /// Of these, [`Verdict::Exact`].
    pub exact: u64,
    /// [`Verdict::CorrectPrefix`].
    pub truncated: u64,
    /// [`Verdict::Wrong`].
    pub wrong: u64,
    /// Records that no sample leads to.
    pub missing: u64,
    /// Samples that lead to a record to which another one led before, or to none.
    pub stray: u64,
    /// Samples that the recording says it lost.
    pub lost: u64,
    /// Frames of all samples, and of the longest.
    pub frames: u64,
    pub longest: usize,
    /// Every sample that counts in `samples`, in the order of arrival.
    pub judged: Vec<Judged>,
    /// How walks ended that were not complete.
    pub ends: BTreeMap<WalkStatus, u64>,
    /// The frames at which they ended.
    pub ended_at: HashMap<Place, u64>,
    /// The first few stacks that are wrong, frame beside frame.
    pub differences: Vec<String>,
    /// The same for those that are truncated.
    pub truncations: Vec<String>,
}

/// A sample and what the truth says of it.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// CLOCK_MONOTONIC.
    pub time_ns: u64,
    pub status: WalkStatus,
    pub verdict: Verdict,
    /// Frames of the sample, and how many it would have were it complete.
    pub frames: usize,
    pub whole: usize,
}

/// Differences shown at most.
const SHOWN: usize = 3;
/// Frames shown before and after the first that differs.
const CONTEXT: usize = 3;

impl Report {
    /// Compares every sample of a recording that carries a key.
    pub fn new(recording: &RawRecording, truth: &Truth) -> Self {
        let modules = ModulePaths::new(recording);
        let mut names = Names::default();
        let mut report = Self { lost: recording.losses.samples(), ..Self::default() };
        let mut seen = HashSet::new();
        for sample in &recording.parts.samples {
            let Some(key) = Truth::key(sample.size) else { continue };
            let Some(expected) = truth.stack(key).filter(|_| seen.insert(key)) else {
                report.stray += 1;
                continue;
            };
            let stack = &recording.parts.stacks[sample.stack as usize];
            let got: Vec<Place> = stack.frames.iter().map(|&frame| modules.place(frame)).collect();
            report.samples += 1;
            report.frames += got.len() as u64;
            report.longest = report.longest.max(got.len());
            if stack.status != WalkStatus::Complete {
                *report.ends.entry(stack.status).or_default() += 1;
                if let Some(last) = got.last() {
                    *report.ended_at.entry(last.clone()).or_default() += 1;
                }
            }
            let verdict = compare(&got, stack.status, &expected);
            report.judged.push(Judged {
                time_ns: sample.time_ns,
                status: stack.status,
                verdict,
                frames: got.len(),
                whole: expected.len() + 1,
            });
            match verdict {
                Verdict::Exact => report.exact += 1,
                Verdict::CorrectPrefix => {
                    report.truncated += 1;
                    if report.truncations.len() < SHOWN {
                        let text = difference(&got, stack.status, &expected, got.len(), &mut names);
                        report.truncations.push(text);
                    }
                }
                Verdict::Wrong(index) => {
                    report.wrong += 1;
                    if report.differences.len() < SHOWN {
                        report.differences.push(difference(&got, stack.status, &expected, index, &mut names));
                    }
                }
            }
        }
        report.missing = truth.keys().len() as u64 - seen.len() as u64;
        report
    }

    /// Whether every record was sampled, or its loss counted, and no stack is wrong.
    pub fn is_sound(&self) -> bool {
        self.wrong == 0 && self.stray == 0 && self.missing == self.lost
    }

    /// Whether every stack is exact as well.
    pub fn is_exact(&self) -> bool {
        self.is_sound() && self.exact == self.samples && self.samples > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, exact, truncated, wrong, missing, stray, lost, frames, longest, .. } = self;
        let share = 100.0 * *exact as f64 / (*samples).max(1) as f64;
        let average = *frames as f64 / (*samples).max(1) as f64;
        write!(f, "{samples} samples, {exact} exact ({share:.3} %), {truncated} truncated, {wrong} wrong, ")?;
        write!(f, "{missing} missing, {stray} stray, {lost} lost, frames {average:.1} on average, {longest} at most")?;
        if !self.ends.is_empty() {
            write!(f, ", not complete {:?}", self.ends)?;
        }
        for difference in &self.differences {
            write!(f, "\n{difference}")?;
        }
        Ok(())
    }
}

/// Paths of a recording's modules, by number.
struct ModulePaths(BTreeMap<u16, Arc<Path>>);

impl ModulePaths {
    fn new(recording: &RawRecording) -> Self {
        Self(recording.modules.iter().map(|module| (module.number, real_path(Path::new(&module.path)))).collect())
    }

    fn place(&self, frame: Frame) -> Place {
        Place { module: self.0.get(&frame.module()).cloned(), address: frame.address() }
    }
}

/// The frames around the first that differs, with names.
fn difference(sample: &[Place], status: WalkStatus, truth: &[Place], index: usize, names: &mut Names) -> String {
    let mut text = format!("{} frames, ended {status:?}; the truth has {}\n", sample.len(), truth.len() + 1);
    for at in index.saturating_sub(CONTEXT)..=index + CONTEXT {
        // The sample begins one frame earlier: with the allocation function.
        let truth = at.checked_sub(1).and_then(|at| truth.get(at));
        let mut show = |place: Option<&Place>| place.map_or("-".to_owned(), |place| names.describe(place));
        let mark = if at == index { '>' } else { ' ' };
        text += &format!("{mark} {at:4}  {:60}  {}\n", show(sample.get(at)), show(truth));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(module: &str, address: u64) -> Place {
        Place { module: Some(Path::new(module).into()), address }
    }

    fn stacks() -> (Vec<Place>, Vec<Place>) {
        let program = [place("/p", 0x10), place("/p", 0x20), place("/libc", 0x30)];
        let sample = [&[place("/libc", 0x1000), place("/shim", 0x110)], &program[..]].concat();
        let truth = [&[place("/shim", 0x100)], &program[..]].concat();
        (sample, truth)
    }

    #[test]
    fn equal_stacks_are_exact_whatever_ended_them() {
        let (sample, truth) = stacks();
        assert_eq!(compare(&sample, WalkStatus::Complete, &truth), Verdict::Exact);
        assert_eq!(compare(&sample, WalkStatus::NoInfo, &truth), Verdict::Exact);
    }

    #[test]
    fn a_short_stack_is_right_only_when_it_says_so() {
        let (sample, truth) = stacks();
        for length in 0..sample.len() {
            assert_eq!(compare(&sample[..length], WalkStatus::NoMapping, &truth), Verdict::CorrectPrefix, "{length}");
            assert_eq!(compare(&sample[..length], WalkStatus::Complete, &truth), Verdict::Wrong(length.max(1)));
        }
    }

    #[test]
    fn one_wrong_frame_is_found() {
        let (sample, truth) = stacks();
        for index in 1..sample.len() {
            for wrong in [place("/libc", sample[index].address + 1000), place("/other", sample[index].address)] {
                let mut sample = sample.clone();
                sample[index] = wrong;
                assert_eq!(compare(&sample, WalkStatus::NoInfo, &truth), Verdict::Wrong(index));
            }
        }
    }

    #[test]
    fn frames_beyond_the_truth_are_wrong() {
        let (mut sample, truth) = stacks();
        sample.push(place("/p", 1));
        assert_eq!(compare(&sample, WalkStatus::Complete, &truth), Verdict::Wrong(5));
    }
}
