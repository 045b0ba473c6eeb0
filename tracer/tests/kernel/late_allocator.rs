//! Allocators that come during a recording are counted from the moment that their probes are in, to the call and to the byte, and
//! the output says so. The program waits until it sees the breakpoint in its own code.

use std::{path::Path, process::Command};

use tracer::recording::Recording;
use tracer_ebpf::abi::allocation::size_class;

use crate::{
    matrix::{
        command::Tracer,
        program::{Program, Truth},
    },
    programs::{Build, Compiler},
    recording::alone,
};

const PROGRAM: Build = Build::new(Compiler::Gcc, "late.c", &["-O2"]);
const LIBRARY: Build = Build::new(Compiler::Gcc, "late.c", &["-O2", "-DLIBRARY", "-shared", "-fPIC"]);
const STATIC: Build = Build::new(Compiler::MuslGcc, "late.c", &["-O2", "-DSTATIC", "-static"]);

/// Lets a program work and end under tracer. `module`: the end of the path of the module with the late allocator.
fn run(command: &mut Command, arguments: &[&str], module: &str, family: &str) {
    let mut program = Program::start(command);
    let tracer = Tracer::start(program.pid(), &[&["--interval", "4KiB"], arguments].concat());
    let truth = program.work();
    program.end();
    let (recording, summary) = tracer.wait();
    println!("{:#?}", recording.about.notes);
    assert_counted(&recording, &truth, module);
    let name = module.rsplit('/').next().unwrap_or(module);
    let notes = &recording.about.notes;
    let is_right =
        |note: &&String| note.contains(&format!("{name} ({family}) was loaded")) && note.contains("counted from");
    assert_eq!(notes.iter().filter(is_right).count(), 1, "{notes:?}");
    assert!(summary.contains(&notes[0]), "{summary}");
}

/// What was counted in a module is what the program did there.
fn assert_counted(recording: &Recording, truth: &Truth, module: &str) {
    let in_module = |path: &str| path.ends_with(module);
    let counters = recording.about.counters.iter().filter(|counter| in_module(&counter.module));
    let mut counted: Vec<_> = counters.flat_map(|counter| &counter.classes).cloned().collect();
    for count in &truth.counts {
        let class = size_class(count.size) as u8;
        let all = counted.iter().filter(|counted| counted.class == class);
        let sums = all.fold((0, 0), |sums, one| (sums.0 + one.calls, sums.1 + one.bytes));
        assert_eq!(sums, (count.calls, count.calls * count.size), "{count:?}");
        counted.retain(|counted| counted.class != class);
    }
    assert!(counted.is_empty(), "{counted:?}");
    // And it was sampled.
    let index = |sample: &&tracer::recording::Sample| {
        in_module(&recording.about.counters[sample.counter as usize].module) && sample.size >= 1000
    };
    assert!(recording.samples.iter().filter(index).count() > 100);
}

#[test]
fn a_library_with_an_allocator_under_its_own_prefix() {
    let Some(_guard) = alone() else { return };
    let library = LIBRARY.compile();
    let path = library.to_str().expect("a path of text");
    run(Command::new(PROGRAM.compile()).args([path, "je_"]), &[], path, "jemalloc");
}

#[test]
fn a_library_that_keeps_its_malloc_to_itself() {
    let Some(_guard) = alone() else { return };
    let arguments = ["libmimalloc.so.2.0", "mi_"];
    run(Command::new(PROGRAM.compile()).args(arguments), &[], "libmimalloc.so.2.0", "mimalloc");
}

/// A shell that says `ready`, waits for a line, and goes on to the program.
fn shell(program: &Path, how: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("echo ready; read line; {how}")).arg(program);
    command
}

#[test]
fn a_program_that_replaces_another() {
    let Some(_guard) = alone() else { return };
    let program = STATIC.compile();
    let path = program.to_str().expect("a path of text");
    run(&mut shell(&program, r#"exec "$0""#), &[], path, "musl");
}

#[test]
fn a_program_that_a_child_runs() {
    let Some(_guard) = alone() else { return };
    let program = STATIC.compile();
    let path = program.to_str().expect("a path of text");
    run(&mut shell(&program, r#""$0"; exit"#), &["--children"], path, "musl");
}
