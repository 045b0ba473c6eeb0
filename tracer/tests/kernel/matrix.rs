//! Every family of allocators under real probes: programs that count their own allocations, by thread, kind and size, against
//! tracer's exact counters and samples. What is counted where is written down in `docs/allocators.md`.

pub mod command;
pub mod comparison;
mod languages;
pub mod program;

use std::{path::Path, process::Command};

use comparison::{Special, check};
pub use languages::go_program;
use program::compile_c;

/// A command for a program with a number of rounds.
fn rounds(program: &Path) -> impl Fn(u32) -> Command {
    move |rounds| {
        let mut command = Command::new(program);
        command.arg(rounds.to_string());
        command
    }
}

/// The C and the C++ program with a preloaded allocator.
fn check_preloaded(library: &str, c: &Path) {
    let cpp = compile_c("kinds-cpp", "g++", &["-std=c++17", "kinds.cpp"]);
    for program in [c, &cpp] {
        check(Special::Nothing, |number| {
            let mut command = rounds(program)(number);
            command.env("LD_PRELOAD", library);
            command
        });
    }
}

#[test]
fn glibc() {
    check(Special::Nothing, rounds(&compile_c("kinds", "gcc", &["kinds.c"])));
}

#[test]
fn glibc_static() {
    check(Special::Nothing, rounds(&compile_c("kinds-static", "gcc", &["-static", "kinds.c"])));
}

#[test]
fn glibc_cpp() {
    check(Special::Nothing, rounds(&compile_c("kinds-cpp", "g++", &["-std=c++17", "kinds.cpp"])));
}

#[test]
fn glibc_cpp_static() {
    check(Special::Nothing, rounds(&compile_c("kinds-cpp-static", "g++", &["-std=c++17", "-static", "kinds.cpp"])));
}

// Debian's musl has no unwind information: where it calls itself the stack ends.
#[test]
fn musl() {
    check(Special::StacksMayEndEarly, rounds(&compile_c("kinds-musl", "musl-gcc", &["kinds.c"])));
}

#[test]
fn musl_static() {
    check(Special::StacksMayEndEarly, rounds(&compile_c("kinds-musl-static", "musl-gcc", &["-static", "kinds.c"])));
}

#[test]
fn jemalloc() {
    check_preloaded("libjemalloc.so.2", &compile_c("kinds-no-pvalloc", "gcc", &["-DNO_PVALLOC", "kinds.c"]));
}

#[test]
fn mimalloc() {
    check_preloaded("libmimalloc.so.2.0", &compile_c("kinds", "gcc", &["kinds.c"]));
}

#[test]
fn tcmalloc() {
    check_preloaded("libtcmalloc_minimal.so.4", &compile_c("kinds", "gcc", &["kinds.c"]));
}
