//! Languages with allocation functions of their own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Special, check,
    command::Tracer,
    comparison::classes,
    program::{BUILT, Program, SOURCES, build},
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
    std::fs::create_dir_all(BUILT).expect("the directory for programs can be made");
    let program = Path::new(BUILT).join("kinds-go");
    let source = Path::new(SOURCES).join("go/main.go");
    build(Command::new("go").args(["build", "-o"]).arg(&program).arg(source).env("GOFLAGS", "-mod=mod"));
    check(Special::Runtime, rounds(&program));
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
