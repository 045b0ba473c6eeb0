//! Languages with allocation functions of their own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tracer::recording::Recording;

use super::{
    Special, check,
    command::Tracer,
    comparison::classes,
    program::{BUILT, Program, SOURCES, Truth, build, compile_c},
    rounds,
};
use crate::recording::alone;

/// Builds the Rust program; later runs find it built.
fn rust(name: &str, arguments: &[&str]) -> PathBuf {
    let target = Path::new(BUILT).join(name);
    build(
        Command::new(env!("CARGO"))
            .args(["build", "--locked", "--release", "--message-format", "json", "--target-dir"])
            .arg(&target)
            .args(arguments)
            .current_dir(Path::new(SOURCES).join("rust")),
    );
    let triple = arguments.iter().find(|argument| argument.contains("-linux-")).copied().unwrap_or("");
    target.join(triple).join("release/kinds")
}

#[test]
fn rust_system() {
    check(Special::Nothing, rounds(&rust("rust-system", &[])));
}

#[test]
fn rust_jemalloc() {
    check(Special::Nothing, rounds(&rust("rust-jemalloc", &["--features", "jemalloc"])));
}

#[test]
fn rust_mimalloc() {
    check(Special::Nothing, rounds(&rust("rust-mimalloc", &["--features", "mimalloc"])));
}

#[test]
fn rust_musl_static() {
    const TARGET: &str = "x86_64-unknown-linux-musl";
    let library = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let library = library.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    if !library.is_ok_and(|library| Path::new(&library).is_dir()) {
        eprintln!(
            "skipped: rustc has no {TARGET}; rustup target add {TARGET}. Static musl is tested in C all the same"
        );
        return;
    }
    check(Special::Nothing, rounds(&rust("rust-musl", &["--target", TARGET])));
}

/// Go counts what its functions ask of `runtime.mallocgc`, and so does tracer. The runtime's own numbers are in other units:
/// bytes of size classes, and of the tiny allocator whole blocks, which several objects share.
#[test]
fn go() {
    check(Special::Runtime, rounds(&go_program()));
}

/// Builds the Go program.
pub fn go_program() -> PathBuf {
    std::fs::create_dir_all(BUILT).expect("the directory for programs can be made");
    let program = Path::new(BUILT).join("kinds-go");
    let source = Path::new(SOURCES).join("go/main.go");
    build(Command::new("go").args(["build", "-o"]).arg(&program).arg(source).env("GOFLAGS", "-mod=mod"));
    program
}

/// What the interpreter asks `malloc` for. Small objects come from its own arenas, unless it is told to do without.
#[test]
fn python() {
    let Some(_guard) = alone() else { return };
    let command = |allocator: &'static str| {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(Path::new(SOURCES).join("kinds.py")).arg("50").env("PYTHONMALLOC", allocator);
        command
    };
    for (allocator, counted) in [("default", 512..), ("malloc", 0..)] {
        let mut program = Program::start(&mut command(allocator));
        let tracer = Tracer::start(program.pid(), &["--interval", "1", "--ring-buffer", "64MiB"]);
        let truth = program.work();
        let (recording, _) = tracer.interrupt();
        assert_eq!(recording.about.losses.samples(), 0);
        let exact: u64 = classes(&recording).values().map(|(calls, _)| calls).sum();
        assert_eq!(exact, recording.samples.len() as u64, "every call is a sample");
        for count in &truth.counts {
            let calls = recording.samples.iter().filter(|sample| sample.size == count.size).count() as u64;
            let expected = if counted.contains(&(count.size - 1)) { count.calls } else { 0 };
            assert_eq!(calls, expected, "PYTHONMALLOC={allocator}: {count:?}");
        }
    }
}

/// What the interpreter asks of its own allocator, of all sizes. As a library it keeps the allocator's functions to themselves,
/// and every call passes them.
#[test]
fn python_objects() {
    let Some(_guard) = alone() else { return };
    let library = Command::new("/usr/bin/python3")
        .args(["-c", "import sysconfig; print(sysconfig.get_config_var('INSTSONAME'))"])
        .output()
        .expect("python3 runs");
    let library = String::from_utf8_lossy(&library.stdout).trim().to_owned();
    let embedded = compile_c("embedded-python", "gcc", &["embedded_python.c"]);
    for allocator in ["default", "malloc"] {
        let mut command = Command::new(&embedded);
        command.arg(&library).arg(Path::new(SOURCES).join("kinds.py")).arg("50").env("PYTHONMALLOC", allocator);
        let (recording, truth) = record_objects(&mut command);
        for count in &truth.counts {
            let calls = recording.samples.iter().filter(|sample| sample.size == count.size).count() as u64;
            assert_eq!(calls, count.calls, "PYTHONMALLOC={allocator}: {count:?}");
        }
        assert_eq!(recording.about.notes, [""; 0]);
    }
}

/// Debian's own interpreter has the allocator inlined into most of its callers: what is counted is true, and the output says
/// what is missing.
#[test]
fn python_objects_of_an_optimised_interpreter() {
    let Some(_guard) = alone() else { return };
    let mut command = Command::new("/usr/bin/python3");
    command.arg(Path::new(SOURCES).join("kinds.py")).arg("50");
    let (recording, truth) = record_objects(&mut command);
    for count in &truth.counts {
        let calls = recording.samples.iter().filter(|sample| sample.size == count.size).count() as u64;
        assert!(calls <= count.calls, "{count:?}: {calls}");
    }
    let counted = truth.counts.iter().map(|count| count.calls).sum::<u64>();
    let is_whole = recording.samples.len() as u64 >= counted;
    let is_said = recording.about.notes.iter().any(|note| note.contains("with its allocator inlined into callers"));
    assert!(is_whole || is_said, "{} of {counted}: {:?}", recording.samples.len(), recording.about.notes);
}

fn record_objects(command: &mut Command) -> (Recording, Truth) {
    let mut program = Program::start(command);
    let arguments = ["--layer", "objects", "--interval", "1", "--ring-buffer", "64MiB"];
    let tracer = Tracer::start(program.pid(), &arguments);
    let truth = program.work();
    let (recording, _) = tracer.interrupt();
    assert_eq!(recording.about.losses.samples(), 0);
    assert!(recording.about.counters.iter().all(|counter| counter.family == "Python"));
    let exact: u64 = classes(&recording).values().map(|(calls, _)| calls).sum();
    assert_eq!(exact, recording.samples.len() as u64, "every call is a sample");
    (recording, truth)
}
