//! Code made at run time, by a program without any run-time system: found by frame pointers, flagged, named by the perf map.

use std::collections::BTreeSet;

use tracer::{
    record::{assemble::assemble, raw::RawRecording, request::Request},
    recording::Recording,
};
use tracer_ebpf::abi::sample::{Frame, WalkStatus};

use crate::{
    matrix::comparison::stack_names,
    programs::{Build, Compiler, Program},
    recording::{EVERY, alone, record, request},
};

const PROGRAM: Build = Build::new(Compiler::Gcc, "jit.c", &["-O2"]);
const ALLOCATIONS: &str = "400";
/// What the program asks for.
const SIZE: u64 = 1_234_567;

/// The perf maps of these processes, removed in the end.
struct PerfMaps(BTreeSet<u32>);

impl Drop for PerfMaps {
    fn drop(&mut self) {
        for process in &self.0 {
            // Not every program writes one.
            let _ = std::fs::remove_file(format!("/tmp/perf-{process}.map"));
        }
    }
}

fn run(arguments: &[&str]) -> RawRecording {
    let mut program = Program::start(&PROGRAM.compile(), &[&[ALLOCATIONS], arguments].concat(), None);
    let request = Request { children: true, ..request(EVERY) };
    let (recording, ()) = record(program.pid(), request, || {
        program.go();
        assert_eq!(program.line(), "done");
    });
    program.finish();
    assert_eq!(recording.losses.samples(), 0);
    recording
}

/// Indices of the stacks through the code, in order of time; of those that are whole.
///
/// Until tracer has read the new mapping they end before it, and say so. From then on each of them is whole.
fn whole(recording: &RawRecording) -> Vec<usize> {
    let parts = &recording.parts;
    let mut samples: Vec<_> = parts.samples.iter().filter(|sample| sample.size == SIZE).collect();
    samples.sort_by_key(|sample| sample.time_ns);
    assert_eq!(samples.len().to_string(), ALLOCATIONS);
    let status = |stack: u32| parts.stacks[stack as usize].status;
    let is_early = |stack| matches!(status(stack), WalkStatus::Stale | WalkStatus::NoMapping);
    let early = samples.iter().take_while(|sample| is_early(sample.stack)).count();
    println!("{early} stacks before the mapping was read");
    let whole: Vec<usize> = samples[early..].iter().map(|sample| sample.stack as usize).collect();
    assert!(!whole.is_empty(), "the mapping was never read");
    for &stack in &whole {
        assert_eq!(parts.stacks[stack].status, WalkStatus::Complete, "{:?}", parts.stacks[stack]);
    }
    whole
}

/// The names of a stack, and of those frames that were found by frame pointer.
fn names<'a>(raw: &[Frame], recording: &'a Recording, stack: usize) -> (Vec<&'a str>, Vec<&'a str>) {
    let names = stack_names(recording)[stack].clone();
    let name = |&location: &u32| {
        let line = &recording.locations[location as usize].lines[0];
        recording.functions[line.function as usize].name.as_str()
    };
    let frames = recording.stacks[stack].frames.iter().zip(raw);
    let flagged = frames.filter(|(_, frame)| frame.by_frame_pointer()).map(|(location, _)| name(location)).collect();
    (names, flagged)
}

fn check(arguments: &[&str], is_expected: impl Fn(&str, &str) -> bool) {
    let raw = run(arguments);
    let _maps = PerfMaps(raw.parts.samples.iter().map(|sample| sample.process).collect());
    let whole = whole(&raw);
    let frames: Vec<Vec<Frame>> = raw.parts.stacks.iter().map(|stack| stack.frames.to_vec()).collect();
    let assisted = raw.parts.samples.iter().filter(|sample| {
        let stack = &raw.parts.stacks[sample.stack as usize];
        stack.status == WalkStatus::Complete && stack.frame_pointer_frames > 0
    });
    let assisted = assisted.count() as u64;
    let recording = assemble(raw);
    for stack in whole {
        let (names, flagged) = names(&frames[stack], &recording, stack);
        let [malloc, by, inner, outer, caller, rest @ ..] = names.as_slice() else { panic!("{names:?}") };
        assert_eq!([*malloc, *by, *caller], ["malloc", "allocate_from_jit", "call_jit"], "{names:?}");
        assert!(is_expected(inner, outer), "{names:?}");
        assert!(rest.contains(&"main"), "{names:?}");
        // Each was found from the frame pointer of the code that it called, which no table describes.
        assert_eq!(flagged, [*outer, "call_jit"], "{names:?}");
        assert_eq!(recording.stacks[stack].frame_pointer_frames, 2);
    }
    assert!(assisted > 0);
    assert_eq!(recording.about.unwinding.assisted, assisted);
}

#[test]
fn run_time_code_is_unwound_by_frame_pointers_and_named_by_its_perf_map() {
    let Some(_guard) = alone() else { return };
    check(&["named"], |inner, outer| [inner, outer] == ["jit_inner", "jit_outer"]);
}

#[test]
fn run_time_code_without_perf_map_is_told_by_address() {
    let Some(_guard) = alone() else { return };
    let address = |name: &str| u64::from_str_radix(name.strip_prefix("[jit]+0x")?, 16).ok();
    check(&[], |inner, outer| address(inner).zip(address(outer)).is_some_and(|(inner, outer)| inner < outer));
}

#[test]
fn run_time_code_of_a_child_is_named_by_the_childs_perf_map() {
    let Some(_guard) = alone() else { return };
    check(&["named", "child"], |inner, outer| [inner, outer] == ["jit_inner", "jit_outer"]);
}
