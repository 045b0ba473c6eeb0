//! Page faults, `mmap` and `brk` against a program that knows how much it grows, and where.

use tracer::{
    probe::kernel_event::KernelEvent,
    profile::Profile,
    record::{assemble::assemble, interval::IntervalSetting, raw::RawRecording, request::Request},
    recording::{KERNEL_MARK, Recording, StackEnd},
};

use crate::{
    cpu::{Truth, names, truth},
    programs::{Build, Compiler, Program},
    recording::{EVERY, alone, record, request},
};

const PROGRAM: Build = Build::new(Compiler::Gcc, "growth.c", &["-O2"]);
const PAGES: u64 = 2000;

fn run(event: KernelEvent, interval: IntervalSetting) -> (RawRecording, Truth) {
    let mut program = Program::start(&PROGRAM.compile(), &[&PAGES.to_string()], None);
    let (recording, said) = record(program.pid(), Request { event: Some(event), ..request(interval) }, || {
        program.go();
        program.line()
    });
    program.finish();
    assert_eq!(recording.losses.samples(), 0);
    (recording, truth(&said))
}

/// Bytes of all samples with a function in their stack; all complete.
fn sampled(recording: &Recording, function: &str) -> u64 {
    let samples = recording.samples.iter().filter(|sample| names(recording, sample.stack).contains(&function));
    samples
        .map(|sample| {
            let stack = &recording.stacks[sample.stack as usize];
            assert_eq!(stack.end, StackEnd::Complete, "{:?}", names(recording, sample.stack));
            sample.size
        })
        .sum()
}

/// Every event is recorded: the functions have their very bytes, and all samples add up to the counters.
fn assert_exact(recording: &Recording, truth: &Truth, functions: &[&str]) {
    for &function in functions {
        assert_eq!(sampled(recording, function), truth[function], "{function}");
    }
    let exact = Profile::new(recording).exact().expect("every event is counted");
    let all = recording.samples.iter().map(|sample| sample.size).sum::<u64>();
    assert_eq!((exact.bytes, exact.calls), (all, recording.samples.len() as u64));
}

#[test]
fn every_page_that_is_touched_is_a_page() {
    let Some(_guard) = alone() else { return };
    let (raw, truth) = run(KernelEvent::PageFaults, EVERY);
    let recording = assemble(raw);
    assert_exact(&recording, &truth, &["touch_pages", "read_into_pages"]);
    // The kernel touches pages of the second function: its own frames say how.
    let leaf_of = |function: &str| {
        let stacks = recording.samples.iter().map(|sample| names(&recording, sample.stack));
        stacks.filter(|names| names.contains(&function)).map(|names| names[0]).collect::<Vec<_>>()
    };
    assert!(leaf_of("touch_pages").iter().all(|leaf| *leaf == "touch_pages"));
    assert!(leaf_of("read_into_pages").iter().all(|leaf| leaf.ends_with(KERNEL_MARK)));
}

#[test]
fn sampled_page_faults_are_estimated() {
    let Some(_guard) = alone() else { return };
    let (raw, truth) = run(KernelEvent::PageFaults, IntervalSetting::Fixed(32 << 10));
    let recording = assemble(raw);
    let profile = Profile::new(&recording);
    let row = profile.functions.iter().find(|row| profile.names.text(row.name) == "touch_pages");
    let total = row.expect("some pages are sampled").total;
    let (truth, interval) = (truth["touch_pages"] as f64, profile.bytes_interval(&total));
    println!("{} samples: {} in {interval:?}, {truth} in truth", total.samples, total.bytes.value);
    assert!(total.samples < PAGES / 2);
    let half = 2.5 * (interval.high - interval.low) / 2.0;
    assert!((total.bytes.value - truth).abs() < half, "{} is not {truth}", total.bytes.value);
    let exact = profile.exact().expect("every fault is counted");
    assert!(exact.bytes as f64 >= 2.0 * truth && exact.bytes == exact.calls * 4096, "{exact:?}");
}

#[test]
fn mapped_memory_is_recorded_to_the_byte() {
    let Some(_guard) = alone() else { return };
    let (raw, truth) = run(KernelEvent::Mmap, EVERY);
    let recording = assemble(raw);
    assert_exact(&recording, &truth, &["map_writable", "remap"]);
    assert_eq!((sampled(&recording, "reserve"), sampled(&recording, "map_file")), (0, 0));
    let counted: Vec<_> = recording.about.counters.iter().map(|counter| &counter.function[..]).collect();
    assert_eq!(counted, ["mmap", "mremap"]);
}

#[test]
fn growth_of_the_break_is_recorded_to_the_byte() {
    let Some(_guard) = alone() else { return };
    let (raw, truth) = run(KernelEvent::Brk, EVERY);
    assert_exact(&assemble(raw), &truth, &["break_up"]);
}
