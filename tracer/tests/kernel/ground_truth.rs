//! Every stack is that of libgcc's unwinder, whatever compiled the program.

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use crate::{
    comparison::Report,
    programs::{Build, Compiler, Program, prepare_shims},
    recording::{ONLY_KEYED, alone, record, request},
    truth::{Truth, TruthFile},
};

const C: &str = "torture.c";
const CXX: &str = "torture.cpp";
const RUST: &str = "torture.rs";

/// Compilers and flags that make code of different kinds: without and with frame pointers, vectors, other alignments,
/// absolute addresses, no dynamic loader, other prologues.
const BUILDS: &[Build] = &[
    Build::new(Compiler::Gcc, C, &["-O0"]),
    Build::new(Compiler::Gcc, C, &["-O2"]),
    Build::new(Compiler::Gcc, C, &["-O3"]),
    Build::new(Compiler::Gcc, C, &["-Os"]),
    Build::new(Compiler::Gcc, C, &["-O3", "-mavx2"]),
    Build::new(Compiler::Gcc, C, &["-O2", "-no-pie", "-Wl,-z,lazy"]),
    Build::new(Compiler::Gcc, C, &["-O2", "-fcf-protection=full"]),
    Build::new(Compiler::Gcc, C, &["-O2", "-fno-omit-frame-pointer"]),
    Build::with_shim(Compiler::Gcc, C, &["-O2", "-static"]),
    // libgcc finds the tables by their header, for which musl-gcc does not ask.
    Build::with_shim(Compiler::MuslGcc, C, &["-O2", "-static", "-Wl,--eh-frame-hdr"]),
    Build::new(Compiler::Clang, C, &["-O0"]),
    Build::new(Compiler::Clang, C, &["-O2"]),
    Build::new(Compiler::Clang, C, &["-O3"]),
    Build::new(Compiler::Clang, C, &["-Os"]),
    Build::new(Compiler::Clang, C, &["-O3", "-mavx2"]),
    Build::new(Compiler::Clang, C, &["-O2", "-no-pie"]),
    Build::new(Compiler::Clang, C, &["-O2", "-fcf-protection=full"]),
    Build::with_shim(Compiler::Clang, C, &["-O2", "-static"]),
    Build::new(Compiler::Gxx, CXX, &["-O0"]),
    Build::new(Compiler::Gxx, CXX, &["-O2"]),
    Build::new(Compiler::Gxx, CXX, &["-O3"]),
    Build::new(Compiler::Gxx, CXX, &["-Os"]),
    Build::new(Compiler::Gxx, CXX, &["-O3", "-mavx2"]),
    Build::new(Compiler::Gxx, CXX, &["-O2", "-no-pie", "-Wl,-z,lazy"]),
    Build::new(Compiler::Gxx, CXX, &["-O2", "-fcf-protection=full"]),
    Build::with_shim(Compiler::Gxx, CXX, &["-O2", "-static"]),
    Build::new(Compiler::Clangxx, CXX, &["-O0"]),
    Build::new(Compiler::Clangxx, CXX, &["-O2"]),
    Build::new(Compiler::Clangxx, CXX, &["-O3"]),
    Build::new(Compiler::Clangxx, CXX, &["-Os"]),
    Build::new(Compiler::Clangxx, CXX, &["-O3", "-mavx2"]),
    Build::new(Compiler::Clangxx, CXX, &["-O2", "-no-pie"]),
    Build::new(Compiler::Clangxx, CXX, &["-O2", "-fcf-protection=full"]),
    Build::with_shim(Compiler::Clangxx, CXX, &["-O2", "-static"]),
    Build::new(Compiler::Rustc, RUST, &["-Copt-level=3"]),
    Build::new(Compiler::Rustc, RUST, &["-Copt-level=3", "-Cpanic=abort"]),
    Build::new(Compiler::Rustc, RUST, &["-Copt-level=0", "-Coverflow-checks=off"]),
];

const THREADS: &str = "3";
/// Of each thread, by the program itself; libraries make more of them.
const C_ALLOCATIONS: &str = "4000";
const OTHER_ALLOCATIONS: &str = "1500";
/// Of all builds together.
const WANTED_SAMPLES: u64 = 500_000;

#[test]
fn stacks_are_those_of_libgcc() {
    let Some(_guard) = alone() else { return };
    prepare_shims();
    BUILDS.par_iter().for_each(|build| drop(build.compile()));
    let mut samples = 0;
    let mut failed = Vec::new();
    for (seed, build) in BUILDS.iter().enumerate() {
        let report = run(build, seed);
        println!("{build}: {report}");
        samples += report.samples;
        // musl's own functions have no unwind tables: there both stop at the same place.
        if !report.is_exact() {
            println!("{}", report.truncations.join("\n"));
            failed.push(build.to_string());
        }
    }
    println!("{samples} samples of {} builds", BUILDS.len());
    assert!(failed.is_empty(), "not all stacks are exact in: {failed:#?}");
    assert!(samples >= WANTED_SAMPLES, "{samples} samples prove too little");
}

fn run(build: &Build, seed: usize) -> Report {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = TruthFile::create(directory.path(), 256 << 20);
    let allocations = if build.source == C { C_ALLOCATIONS } else { OTHER_ALLOCATIONS };
    let arguments = [&seed.to_string(), THREADS, allocations];
    let mut program = Program::start(&build.compile(), &arguments, Some((file.path(), build.shim)));
    let (recording, made) = record(program.pid(), request(ONLY_KEYED), || {
        file.enable(true);
        program.go();
        let made: u64 = program.line().parse().expect("the program says how often it allocated");
        file.enable(false);
        made
    });
    program.finish();
    let truth: Truth = file.read();
    assert_eq!((truth.lost, truth.unfinished_words), (0, 0), "{build}: the truth file is not whole");
    assert!(truth.keys().len() as u64 >= made, "{build}: the shim missed allocations");
    Report::new(&recording, &truth)
}
