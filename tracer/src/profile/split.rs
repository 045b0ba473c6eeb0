//! The same stacks told apart by who made the calls: by process or by thread.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use crate::recording::{Recording, Sample, StackIndex};

/// What to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Processes.
    Process,
    /// Threads.
    Thread,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "process",
            Self::Thread => "thread",
        })
    }
}

/// A recording whose stacks belong to one process or thread each.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// The recording. It has a stack more than once where more than one part has samples of it, and none that has no sample.
    pub recording: Recording,
    /// Name and number of each part, in order of the number: `game-server 1234`.
    pub names: Vec<String>,
    /// The part of each stack, as an index into the names.
    pub of_stack: Vec<u32>,
}

impl Parts {
    /// Divides the samples of a recording. Linear in their number, up to sorting.
    pub fn new(recording: &Recording, split: Split) -> Self {
        let key = |sample: &Sample| match split {
            Split::Process => sample.process,
            Split::Thread => sample.thread,
        };
        let names = names(recording, split, key);
        let index: HashMap<u32, u32> = names.keys().copied().zip(0..).collect();
        let (mut stacks, mut of_stack) = (Vec::new(), Vec::new());
        let mut known: HashMap<(StackIndex, u32), StackIndex> = HashMap::new();
        let mut samples = Vec::with_capacity(recording.samples.len());
        for sample in &recording.samples {
            let part = index.get(&key(sample)).copied().unwrap_or_default();
            let stack = *known.entry((sample.stack, part)).or_insert_with(|| {
                stacks.extend(recording.stacks.get(sample.stack as usize).cloned());
                of_stack.push(part);
                of_stack.len() as StackIndex - 1
            });
            samples.push(Sample { stack, ..sample.clone() });
        }
        let recording = Recording {
            about: recording.about.clone(),
            modules: recording.modules.clone(),
            functions: recording.functions.clone(),
            locations: recording.locations.clone(),
            stacks,
            samples,
        };
        Self { recording, names: names.into_values().collect(), of_stack }
    }
}

/// The last name that each part had. A process is called as its main thread; one whose main thread has no sample, and which
/// was not named when the recording began, has its number only.
fn names(recording: &Recording, split: Split, key: impl Fn(&Sample) -> u32) -> BTreeMap<u32, String> {
    let mut names: BTreeMap<u32, &str> = recording.samples.iter().map(|sample| (key(sample), "")).collect();
    if split == Split::Process {
        let about = &recording.about;
        for process in std::iter::once(&about.process).chain(&about.other_processes) {
            if let Some(name) = names.get_mut(&process.pid) {
                *name = &process.name;
            }
        }
    }
    let speaks = |sample: &&Sample| split == Split::Thread || sample.thread == sample.process;
    for sample in recording.samples.iter().filter(speaks).filter(|sample| !sample.thread_name.is_empty()) {
        names.insert(key(sample), &sample.thread_name);
    }
    let shown = |(number, name): (u32, &str)| match name {
        "" => (number, format!("{split} {number}")),
        name => (number, format!("{name} {number}")),
    };
    names.into_iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        profile::{Options, Profile, Row, name::NameKind},
        recording::about::Process,
        synthetic::{Builder, Random, program, random},
    };

    /// Samples as (process, thread, name of the thread, stack, size).
    fn recording(samples: &[(u32, u32, &str, &str, u64)]) -> Recording {
        let mut builder = Builder::default();
        let mut stacks = HashMap::new();
        for &(process, thread, name, text, size) in samples {
            let stack = *stacks.entry(text).or_insert_with(|| builder.stack(text));
            let thread_name = name.to_owned();
            builder.recording.samples.push(Sample { stack, process, thread, thread_name, size, ..Sample::default() });
        }
        builder.recording
    }

    /// Names of the tree's nodes with their depth, and their bytes.
    fn outline(profile: &Profile) -> Vec<(String, f64)> {
        let nodes = profile.tree.nodes.iter();
        let shown = nodes.map(|node| {
            let name = node.frame.map_or("all".to_owned(), |frame| profile.names.folded(frame));
            (format!("{}{name}", ".".repeat(node.depth as usize)), node.total.bytes.value)
        });
        shown.collect()
    }

    fn texts(profile: &Profile, rows: &[Row]) -> Vec<(String, f64)> {
        rows.iter().map(|row| (profile.names.text(row.name).to_owned(), row.total.bytes.value)).collect()
    }

    #[test]
    fn threads_are_the_first_frames_of_the_tree() {
        let recording = recording(&[
            (1, 1, "game", "main > f > malloc", 1),
            (1, 2, "net", "main > f > malloc", 2),
            (1, 2, "net-1", "? no mapping > f > malloc", 4),
            (1, 1, "game", "main > f > malloc", 8),
        ]);
        let profile = Profile::with_options(&recording, &Options { split: Some(Split::Thread), ..Options::default() });
        let expected = [
            ("all", 15.0),
            (".[game 1]", 9.0),
            ("..main", 9.0),
            ("...f", 9.0),
            ("....malloc", 9.0),
            (".[net-1 2]", 6.0),
            ("..[truncated: no mapping]", 4.0),
            ("...f", 4.0),
            ("....malloc", 4.0),
            ("..main", 2.0),
            ("...f", 2.0),
            ("....malloc", 2.0),
        ];
        assert_eq!(outline(&profile), expected.map(|(name, bytes)| (name.to_owned(), bytes)));
        assert_eq!(texts(&profile, &profile.parts), [("[game 1]".to_owned(), 9.0), ("[net-1 2]".to_owned(), 6.0)]);
        assert_eq!(profile.names.kind(profile.parts[0].name), NameKind::Part);
    }

    #[test]
    fn processes_are_called_as_their_main_threads_or_as_when_the_recording_began() {
        let mut recording = recording(&[
            (7, 8, "worker", "f", 1),
            (20, 20, "sh", "f", 2),
            (20, 21, "worker", "f", 4),
            (20, 20, "ls", "f", 8),
            (30, 31, "worker", "f", 16),
        ]);
        recording.about.process = Process { pid: 7, name: "game".to_owned(), ..Process::default() };
        let profile = Profile::with_options(&recording, &Options { split: Some(Split::Process), ..Options::default() });
        let parts = [("[process 30]", 16.0), ("[ls 20]", 14.0), ("[game 7]", 1.0)];
        assert_eq!(texts(&profile, &profile.parts), parts.map(|(name, bytes)| (name.to_owned(), bytes)));
    }

    #[test]
    fn everything_adds_up_and_the_tables_stay() {
        let large = random::recording(&mut Random::new(5), 3000, 10);
        for recording in [program::recording(), large] {
            let whole = Profile::new(&recording);
            assert!(whole.split.is_none() && whole.parts.is_empty());
            for split in [Split::Process, Split::Thread] {
                let profile = Profile::with_options(&recording, &Options { split: Some(split), ..Options::default() });
                let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1.0);
                let total = profile.total();
                assert!(near(total.bytes.value, whole.total().bytes.value));
                assert!(near(total.objects.value, whole.total().objects.value));
                assert_eq!(total.samples, whole.total().samples);
                let unattributed = profile.calibration.unattributed();
                let sum = |value: fn(&Row) -> f64| profile.parts.iter().map(value).sum::<f64>();
                let bytes = sum(|row| row.total.bytes.value) + unattributed.bytes as f64;
                let objects = sum(|row| row.total.objects.value) + unattributed.calls as f64;
                assert!(near(bytes, total.bytes.value) && near(objects, total.objects.value), "{split}");
                // What is below the root are the parts, with the numbers of the table.
                let root = profile.tree.nodes.iter().filter(|node| node.depth == 1);
                let of_part = root.filter_map(|node| Some((node.frame?.name(), node.total)));
                let mut of_part: Vec<_> =
                    of_part.filter(|(name, _)| profile.names.kind(*name) == NameKind::Part).collect();
                of_part.sort_by_key(|(name, _)| *name);
                let mut parts: Vec<_> = profile.parts.iter().map(|row| (row.name, row.total)).collect();
                parts.sort_by_key(|(name, _)| *name);
                assert_eq!(of_part.len(), parts.len());
                for ((a, left), (b, right)) in of_part.iter().zip(&parts) {
                    assert!(a == b && near(left.bytes.value, right.bytes.value), "{split}");
                }
                for (rows, expected) in [(&profile.sites, &whole.sites), (&profile.functions, &whole.functions)] {
                    let sorted = |profile: &Profile, rows: &[Row]| {
                        let mut texts = texts(profile, rows);
                        texts.sort_by(|a, b| a.0.cmp(&b.0));
                        texts
                    };
                    let (rows, expected) = (sorted(&profile, rows), sorted(&whole, expected));
                    assert_eq!(rows.len(), expected.len());
                    for ((name, bytes), (expected_name, expected)) in rows.iter().zip(&expected) {
                        assert!(name == expected_name && near(*bytes, *expected), "{name}: {bytes}, {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_splits_into_nothing() {
        let profile =
            Profile::with_options(&Recording::default(), &Options { split: Some(Split::Thread), ..Options::default() });
        assert!(profile.parts.is_empty());
        assert_eq!(outline(&profile), [("all".to_owned(), 0.0)]);
    }
}
