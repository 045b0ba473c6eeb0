//! Modules without unwind information: frame pointers are followed where there is none at all, and each such frame is flagged.

use tracer::{
    record::assemble::assemble,
    recording::{Recording, StackEnd},
};

use crate::{
    matrix::comparison::stack_names,
    programs::{Build, Compiler, Program},
    recording::{EVERY, alone, record, request},
};

const CALLER: Build = Build::new(Compiler::Gcc, "no_table_caller.c", &["-O2"]);
/// What it asks for, and how often.
const SIZE: u64 = 1_234_567;
const CALLS: usize = 10;

fn run(library: Build) -> Recording {
    let library = library.compile();
    let mut program = Program::start(&CALLER.compile(), &[&library.to_string_lossy()], None);
    let (raw, ()) = record(program.pid(), request(EVERY), || {
        program.go();
        assert_eq!(program.line(), "done");
    });
    program.finish();
    assert_eq!(raw.losses.samples(), 0);
    assemble(raw)
}

/// Names, end and frames by frame pointer of each stack through the library.
fn stacks(recording: &Recording) -> Vec<(Vec<&str>, &StackEnd, u32)> {
    let names = stack_names(recording);
    let samples = recording.samples.iter().filter(|sample| sample.size == SIZE);
    let numbers: Vec<usize> = samples.map(|sample| sample.stack as usize).collect();
    assert_eq!(numbers.len(), CALLS);
    let stack = |number: usize| {
        let stack = &recording.stacks[number];
        (names[number].clone(), &stack.end, stack.frame_pointer_frames)
    };
    numbers.into_iter().map(stack).collect()
}

#[test]
fn a_library_without_any_table_goes_by_frame_pointers() {
    let Some(_guard) = alone() else { return };
    let recording = run(Build::new(
        Compiler::Gcc,
        "no_table.c",
        &[
            "-O2",
            "-g0",
            "-shared",
            "-fPIC",
            "-nostartfiles",
            "-fno-asynchronous-unwind-tables",
            "-fno-omit-frame-pointer",
        ],
    ));
    let whole = ["malloc", "inner_without_table", "outer_without_table", "call_library", "main"];
    for (names, end, by_frame_pointer) in stacks(&recording) {
        assert_eq!(*end, StackEnd::Complete, "{names:?}");
        assert_eq!(names[..5], whole, "{names:?}");
        // The callers of the two.
        assert_eq!(by_frame_pointer, 2, "{names:?}");
    }
    assert_eq!(recording.about.unwinding.assisted, CALLS as u64);
}

/// A gap is code that is known to lack information, assembly as a rule: it may use the frame pointer for anything.
#[test]
fn a_gap_in_a_table_ends_the_stack_whatever_the_frame_pointer_is() {
    let Some(_guard) = alone() else { return };
    let recording = run(Build::new(
        Compiler::Gcc,
        "no_table.c",
        &[
            "-O2",
            "-DDESCRIBED",
            "-g0",
            "-shared",
            "-fPIC",
            "-fno-asynchronous-unwind-tables",
            "-fno-omit-frame-pointer",
        ],
    ));
    for (names, end, by_frame_pointer) in stacks(&recording) {
        let StackEnd::Truncated(why) = end else { panic!("{names:?}") };
        assert!(why.starts_with("no unwind information in no-table"), "{why}");
        assert_eq!((names, by_frame_pointer), (vec!["malloc", "inner_without_table"], 0));
    }
    let [truncation] = &recording.about.unwinding.truncated[..] else { panic!("{:?}", recording.about.unwinding) };
    assert_eq!(truncation.samples, CALLS as u64);
    assert!(truncation.hint.contains("-fasynchronous-unwind-tables"), "{truncation:?}");
}
