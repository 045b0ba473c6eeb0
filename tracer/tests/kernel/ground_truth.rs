//! Every stack is that of libgcc's unwinder, whatever compiled the program.

use std::collections::BTreeMap;

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use tracer::record::{raw::RawRecording, request::Request};
use tracer_ebpf::abi::sample::{MAX_FRAMES, WalkStatus};

use crate::{
    comparison::Report,
    described::Described,
    names::Names,
    programs::{Build, Compiler, Program, prepare_shims},
    recording::{ONLY_KEYED, alone, record, request},
    truth::{Place, Truth, TruthFile, real_path},
};

pub const C: &str = "torture.c";
pub const CXX: &str = "torture.cpp";
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
/// Of a recursion, at least. tracer's limit leaves room for 149 more, and for what is above and below them.
const LEVELS: usize = 700;
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
        let allocations = if build.source == C { C_ALLOCATIONS } else { OTHER_ALLOCATIONS };
        let arguments = [&seed.to_string(), THREADS, allocations, &LEVELS.to_string()];
        let (recording, truth) = sampled(build, &arguments, MAX_FRAMES as u32);
        let report = Report::new(&recording, &truth);
        println!("{build}: {report}");
        samples += report.samples;
        let ends = match build.compiler {
            Compiler::MuslGcc => end_where_nothing_is_described(build, &report),
            _ => report.ends.is_empty(),
        };
        if !report.is_exact() || !ends || report.longest <= LEVELS {
            println!("{}", report.truncations.join("\n"));
            failed.push(build.to_string());
        }
    }
    println!("{samples} samples of {} builds", BUILDS.len());
    assert!(failed.is_empty(), "not all stacks are exact, complete and as long as wanted in: {failed:#?}");
    assert!(samples >= WANTED_SAMPLES, "{samples} samples prove too little");
}

/// Runs a program of this suite with the shim; what tracer sampled of it and what the shim wrote.
pub fn sampled(build: &Build, arguments: &[&str], max_frames: u32) -> (RawRecording, Truth) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = TruthFile::create(directory.path(), 256 << 20);
    let mut program = Program::start(&build.compile(), arguments, Some((file.path(), build.shim)));
    let request = Request { max_frames, ..request(ONLY_KEYED) };
    let (recording, made) = record(program.pid(), request, || {
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
    (recording, truth)
}

/// musl as distributions package it describes hardly any of its own functions, so that both unwinders end in them: whether all
/// stacks that are not complete end at an address for which the program has no unwind information, and some are complete.
fn end_where_nothing_is_described(build: &Build, report: &Report) -> bool {
    let path = build.compile();
    let described = Described::read(&path);
    let (program, mut names) = (real_path(&path), Names::default());
    let incomplete: u64 = report.ends.values().sum();
    let complete = report.samples - incomplete;
    println!("{complete} of {} stacks are complete; the others end in:", report.samples);
    let mut functions: BTreeMap<String, u64> = BTreeMap::new();
    for (place, count) in &report.ended_at {
        let name = names.function(place).map_or("?", |(name, _)| name);
        *functions.entry(name.to_owned()).or_default() += count;
    }
    println!("{functions:?}");
    let nothing_there = |place: &Place| place.module.as_deref() == Some(&*program) && !described.holds(place.address);
    complete > 0
        && report.ends.keys().all(|status| *status == WalkStatus::NoInfo)
        && report.ended_at.keys().all(nothing_there)
}
