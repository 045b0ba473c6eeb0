//! Languages with allocation functions of their own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    check,
    command::Tracer,
    comparison::{kinds_of_samples, stack_names},
    program::{BUILT, Program, SOURCES, build, compile},
    rounds,
};

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
    check(rounds(&rust("rust-system", &[])));
}

#[test]
fn rust_jemalloc() {
    check(rounds(&rust("rust-jemalloc", &["--features", "jemalloc"])));
}

#[test]
fn rust_mimalloc() {
    check(rounds(&rust("rust-mimalloc", &["--features", "mimalloc"])));
}

#[test]
fn rust_musl_static() {
    const TARGET: &str = "x86_64-unknown-linux-musl";
    let library = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let library = library.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    if !library.is_ok_and(|library| Path::new(&library).is_dir()) {
        eprintln!("skipped: rustc has no {TARGET}; rustup target add {TARGET}. Static musl is tested in C all the same");
        return;
    }
    check(rounds(&rust("rust-musl", &["--target", TARGET])));
}
