//! Go that calls C: stacks go from the thread's stack back to the goroutine's.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tracer::{
    record::assemble::assemble,
    recording::{Recording, StackEnd},
};

use crate::{
    matrix::{
        comparison::stack_names,
        program::{BUILT, build},
    },
    programs::{Program, source},
    recording::{EVERY, alone, record, request},
};

/// What the program asks for: in C that Go called, and when C has called Go meanwhile.
const PLAIN: u64 = 1_234_567;
const AFTER_GO: u64 = 1_345_678;
/// As the program has it: goroutines, and calls of each.
const ROUNDS: usize = 50;

fn program(flags: &[&str]) -> PathBuf {
    std::fs::create_dir_all(BUILT).expect("the directory for programs can be made");
    let program = Path::new(BUILT).join("go-c");
    let mut command = Command::new("go");
    command.args(["build", "-o"]).arg(&program).args(flags).arg(".").current_dir(source("go-c"));
    build(command.env("CGO_ENABLED", "1").env("CGO_CFLAGS", "-O2 -g"));
    program
}

/// Names and end of the stack of each sample of a size.
fn stacks_of(recording: &Recording, size: u64) -> Vec<(Vec<&str>, &StackEnd, u32)> {
    let names = stack_names(recording);
    let samples = recording.samples.iter().filter(|sample| sample.size == size);
    let stack = |number: usize| {
        let stack = &recording.stacks[number];
        (names[number].clone(), &stack.end, stack.frame_pointer_frames)
    };
    samples.map(|sample| stack(sample.stack as usize)).collect()
}

/// The names of Go's assembly end in that of their calling convention.
fn without_convention(name: &str) -> &str {
    name.strip_suffix(".abi0").unwrap_or(name)
}

fn check(flags: &[&str]) {
    let mut program = Program::start(&program(flags), &[], None);
    let (raw, ()) = record(program.pid(), request(EVERY), || {
        program.go();
        assert_eq!(program.line(), "done");
    });
    program.finish();
    assert_eq!(raw.losses.samples(), 0);
    let recording = assemble(raw);

    let plain = stacks_of(&recording, PLAIN);
    assert_eq!(plain.len(), ROUNDS * (1 + ROUNDS));
    let mut of_main = 0;
    for (names, end, by_frame_pointer) in plain {
        assert_eq!(*end, StackEnd::Complete, "{names:#?}");
        let names: Vec<&str> = names.into_iter().map(without_convention).collect();
        let at = |name| names.iter().position(|known| *known == name).unwrap_or_else(|| panic!("{name}: {names:#?}"));
        // What cgo puts between C and Go jumps to the C function.
        let expected = ["runtime.asmcgocall", "runtime.cgocall", "main._Cfunc_allocate_in_c", "main.call_c"];
        let from = at("allocate_in_c") + 1;
        assert_eq!(names[from..from + 4], expected, "{names:#?}");
        let rest = &names[from + 4..];
        let is_main = rest == ["main.main", "runtime.main", "runtime.goexit"];
        of_main += usize::from(is_main);
        let is_other = rest.first() == Some(&"main.goroutine") && rest.last() == Some(&"runtime.goexit");
        assert!(is_main || is_other, "{names:#?}");
        assert!(by_frame_pointer >= 4, "{by_frame_pointer}: {names:#?}");
    }
    assert_eq!(of_main, ROUNDS);
    assert!(recording.about.unwinding.assisted >= (ROUNDS * (1 + ROUNDS)) as u64);

    // The frame pointer that C has kept leads to where the stack was: the stack ends there.
    let after_go = stacks_of(&recording, AFTER_GO);
    assert_eq!(after_go.len(), ROUNDS);
    for (names, end, _) in after_go {
        let StackEnd::Truncated(why) = end else { panic!("{names:#?}") };
        assert!(why.starts_with("caller's frame not above its callee's"), "{why}");
        assert_eq!(names.last().copied().map(without_convention), Some("runtime.asmcgocall"), "{names:#?}");
    }
}

#[test]
fn c_that_go_calls_is_unwound_to_the_goroutines_start() {
    let Some(_guard) = alone() else { return };
    check(&[]);
}

#[test]
fn the_same_where_gos_code_is_moved_when_loaded() {
    let Some(_guard) = alone() else { return };
    check(&["-buildmode=pie"]);
}
