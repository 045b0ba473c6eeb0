//! What a program says that it did against what tracer says that it saw.

use std::{collections::BTreeMap, process::Command};

use tracer::recording::{Recording, StackEnd};
use tracer_ebpf::abi::allocation::size_class;

use super::{
    command::Tracer,
    program::{Count, Program, Truth},
};
use crate::recording::alone;

/// Calls and bytes by size class.
pub type Classes = BTreeMap<u8, (u64, u64)>;
/// Calls by thread, kind and size.
pub type Kinds = BTreeMap<(u32, String, u64), u64>;

/// What is special about a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// Nothing: all stacks reach the thread's start, and all that allocates are its kinds.
    Nothing,
    /// Some stacks end in a module without unwind information, and say so.
    StacksMayEndEarly,
    /// A run-time system allocates for itself too. It says how many calls there were in all.
    Runtime,
}

/// Records a program: every call with its stack, then many calls by the exact counters, then what is in use in the end.
/// All must be what the program says, to the call and to the byte.
pub fn check(special: Special, command: impl Fn(u32) -> Command) {
    let Some(_guard) = alone() else { return };
    assert_every_call(special, &command);
    assert_exact_counters(special, &command);
    assert_in_use(special, &command);
}

fn assert_every_call(special: Special, command: &impl Fn(u32) -> Command) {
    let mut program = Program::start(&mut command(3));
    let tracer = Tracer::start(program.pid(), &["--interval", "1", "--ring-buffer", "64MiB"]);
    let truth = program.work();
    let (recording, _) = tracer.interrupt();
    show_counters(&recording);
    assert_eq!(recording.about.losses.samples(), 0, "{:?}", recording.about.losses);
    assert_classes(special, &recording, &truth);
    let truth = kinds_of_truth(&truth);
    assert!(!truth.is_empty());
    let counted = kinds_of_samples(&recording);
    match special {
        Special::Nothing => assert_same(&counted, &truth),
        Special::Runtime => assert_same(&known(counted), &truth),
        Special::StacksMayEndEarly => {
            assert_same(&without_kinds(&counted), &without_kinds(&truth));
            let known = known(counted);
            assert_same(&known, &truth.into_iter().filter(|(kind, _)| known.contains_key(kind)).collect());
        }
    }
    for (stack, names) in recording.stacks.iter().zip(stack_names(&recording)) {
        let is_whole = stack.end == StackEnd::Complete;
        let is_own = kind(&names) != UNKNOWN;
        let may_end = match special {
            Special::Nothing => false,
            // Inside the allocator, or in what started the thread.
            Special::StacksMayEndEarly => !is_own || names.contains(&"work"),
            // On a stack of the run-time's own.
            Special::Runtime => !is_own,
        };
        assert!(is_whole || may_end, "{:?}: {names:#?}", stack.end);
        // Go is unwound by frame pointers, and every stack says so; all else by tables.
        let by_frame_pointer = stack.frame_pointer_frames > 0;
        assert_eq!(by_frame_pointer, special == Special::Runtime, "{stack:?}: {names:#?}");
    }
    let unwinding = &recording.about.unwinding;
    assert_eq!(unwinding.assisted > 0, special == Special::Runtime, "{unwinding:?}");
}

fn assert_exact_counters(special: Special, command: &impl Fn(u32) -> Command) {
    let mut program = Program::start(&mut command(200));
    let tracer = Tracer::start(program.pid(), &["--interval", "64KiB"]);
    let truth = program.work();
    // The end of the program ends this recording.
    program.end();
    let (recording, _) = tracer.wait();
    assert_classes(special, &recording, &truth);
    assert!(!recording.samples.is_empty());
    // What was sampled are calls that the program made.
    let truth = kinds_of_truth(&truth);
    for (kind, samples) in known(kinds_of_samples(&recording)) {
        let calls = truth.get(&kind).copied().unwrap_or_default();
        assert!(samples <= calls, "{kind:?}: {samples} samples of {calls} calls");
    }
}

fn assert_in_use(special: Special, command: &impl Fn(u32) -> Command) {
    // Where a collector releases blocks there is nothing to follow.
    if special == Special::Runtime {
        return;
    }
    let mut program = Program::start(&mut command(20));
    let tracer = Tracer::start(program.pid(), &["--live", "--interval", "1", "--ring-buffer", "64MiB"]);
    let truth = program.work();
    let (recording, _) = tracer.interrupt();
    // It has taken no harm.
    program.end();
    let live = recording.about.live.clone().expect("blocks were followed");
    let blocks: Vec<_> = recording.samples.iter().filter_map(|sample| Some((sample.size, sample.block?))).collect();
    let in_use = blocks.iter().filter(|(_, block)| block.released_ns.is_none());
    let in_use = in_use.fold((0, 0), |(bytes, blocks), (size, _)| (bytes + size, blocks + 1));
    println!("in use {in_use:?} of {} blocks, {live:?}", blocks.len());
    assert_eq!(recording.about.losses.samples(), 0, "{:?}", recording.about.losses);
    assert_eq!((live.not_followed, live.missed_releases, live.interval_raised), (0, 0, 0));
    assert_eq!(Some(in_use), truth.held, "bytes and blocks in use");
    // Calls that returned no block: `realloc(block, 0)`.
    let returned_none = |count: &&Count| count.kind == "kind_realloc_zero";
    let none: u64 = truth.counts.iter().filter(returned_none).map(|count| count.calls).sum();
    assert!(live.unreturned <= none, "{live:?}");
    assert_eq!(recording.samples.len() - blocks.len(), live.unreturned as usize);
}

/// The exact counters, all functions together.
pub fn classes(recording: &Recording) -> Classes {
    let mut classes = Classes::new();
    for class in recording.about.counters.iter().flat_map(|counter| &counter.classes) {
        let sum = classes.entry(class.class).or_default();
        *sum = (sum.0 + class.calls, sum.1 + class.bytes);
    }
    classes
}

fn assert_classes(special: Special, recording: &Recording, truth: &Truth) {
    let mut counted = classes(recording);
    let mut expected = Classes::new();
    for count in &truth.counts {
        let sum = expected.entry(size_class(count.size) as u8).or_default();
        *sum = (sum.0 + count.calls, sum.1 + count.calls * count.size);
    }
    if special == Special::Runtime {
        assert_runtime(&counted, truth);
        // Classes in which it allocated nothing must be equal all the same.
        counted.retain(|class, (calls, _)| expected.get(class).is_some_and(|(known, _)| known == calls));
        expected.retain(|class, _| counted.contains_key(class));
        assert!(expected.len() > 10, "{expected:?}");
    }
    let wrong = |(class, is): (&u8, &(u64, u64))| (expected.get(class) != Some(is)).then_some(*class);
    let wrong: Vec<u8> = counted.iter().filter_map(wrong).collect();
    assert_eq!(counted, expected, "calls and bytes by size class, counted and true; wrong: {wrong:?}");
}

/// What a run-time system counts lies between what its program does and what is counted: it allocates for itself before and
/// after it is asked too. That is less than one kind does, so none is counted twice.
fn assert_runtime(counted: &Classes, truth: &Truth) {
    let own =
        truth.remarks.iter().find_map(|line| line.strip_prefix("runtime ")?.split(' ').next()?.parse::<u64>().ok());
    let own = own.expect("the run-time's count");
    let calls: u64 = counted.values().map(|(calls, _)| calls).sum();
    let programs: u64 = truth.counts.iter().map(|count| count.calls).sum();
    println!("counted {calls}, by the run-time {own}, by the program {programs}");
    assert!((programs..=calls).contains(&own), "counted {calls}, by the run-time {own}, by the program {programs}");
    let least = truth.counts.iter().map(|count| count.calls).min().unwrap_or(0);
    assert!(calls - programs < least.max(20), "counted {calls}, by the program {programs}");
}

fn kinds_of_truth(truth: &Truth) -> Kinds {
    truth.counts.iter().map(|count| ((count.thread, count.kind.clone(), count.size), count.calls)).collect()
}

/// The kind of what is in none.
const UNKNOWN: &str = "other";

fn known(kinds: Kinds) -> Kinds {
    kinds.into_iter().filter(|((_, kind, _), _)| kind != UNKNOWN).collect()
}

fn without_kinds(kinds: &Kinds) -> Kinds {
    let mut sums = Kinds::new();
    for ((thread, _, size), calls) in kinds {
        *sums.entry((*thread, String::new(), *size)).or_default() += calls;
    }
    sums
}

/// Samples by the innermost kind on their stacks.
pub fn kinds_of_samples(recording: &Recording) -> Kinds {
    let names = stack_names(recording);
    let kinds: Vec<String> = names.iter().map(|names| kind(names)).collect();
    let mut counted = Kinds::new();
    for sample in &recording.samples {
        let kind = kinds[sample.stack as usize].clone();
        *counted.entry((sample.thread, kind, sample.size)).or_default() += 1;
    }
    counted
}

/// Names of the functions of each stack, innermost first.
pub fn stack_names(recording: &Recording) -> Vec<Vec<&str>> {
    let names = |location: &u32| {
        let lines = recording.locations[*location as usize].lines.iter();
        lines.map(|line| recording.functions[line.function as usize].name.as_str())
    };
    recording.stacks.iter().map(|stack| stack.frames.iter().flat_map(names).collect()).collect()
}

fn kind(names: &[&str]) -> String {
    let kind = names.iter().find_map(|name| name.find("kind_").map(|at| &name[at..]));
    let kind = kind.map(|name| name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or(name));
    kind.unwrap_or(UNKNOWN).to_owned()
}

fn assert_same(counted: &Kinds, truth: &Kinds) {
    let wrong: Vec<String> = counted
        .keys()
        .chain(truth.keys().filter(|kind| !counted.contains_key(*kind)))
        .filter(|kind| counted.get(*kind) != truth.get(*kind))
        .map(|kind| format!("{kind:?}: counted {:?}, true {:?}", counted.get(kind), truth.get(kind)))
        .collect();
    assert!(wrong.is_empty(), "thread, kind and size:\n{}", wrong.join("\n"));
}

/// With `--nocapture`: which functions counted.
fn show_counters(recording: &Recording) {
    for counter in recording.about.counters.iter().filter(|counter| !counter.classes.is_empty()) {
        let calls: u64 = counter.classes.iter().map(|class| class.calls).sum();
        println!("{:>8} {} ({}, {})", calls, counter.function, counter.family, counter.module);
    }
}
