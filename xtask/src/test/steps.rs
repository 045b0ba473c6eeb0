//! The steps, cheapest first.

use super::{Outcome, linkage, markdown};
use crate::{
    build_ebpf, demo, exec,
    fuzz::{self, program::CargoFuzz},
    packages::{self, Group},
    workspace,
};

/// One thing that CI checks.
pub struct Step {
    /// To choose it by.
    pub name: &'static str,
    /// What is checked.
    pub about: &'static str,
    /// Does it.
    pub run: fn() -> anyhow::Result<Outcome>,
}

/// All steps, in the order in which they run.
pub const STEPS: &[Step] = &[
    Step { name: "packages", about: "the programs that the tests run are installed", run: installed },
    Step { name: "fmt", about: "rustfmt changes nothing", run: fmt },
    Step { name: "clippy", about: "no lint fires, in any target", run: clippy },
    Step { name: "clippy-bpf", about: "no lint fires in the BPF programs", run: clippy_bpf },
    Step { name: "doc", about: "the API documentation builds, and its links lead somewhere", run: doc },
    Step { name: "bpf-object", about: "the committed BPF object is what the sources give", run: bpf_object },
    Step { name: "unit", about: "unit, property, command-line and documentation tests", run: unit },
    Step { name: "markdown", about: "commands and links in the documents work", run: markdown::check },
    Step { name: "linkage", about: "the release program needs no library but the C library's", run: linkage::check },
    Step { name: "fuzz", about: "fuzz targets build, and find nothing in a short time", run: fuzz_check },
    Step { name: "kernel", about: "tests against the running kernel", run: kernel },
    Step { name: "hold", about: "the game server holds 1,000 connections for a minute", run: hold },
    Step { name: "demo", about: "a short demo finds the functions that allocate", run: demo_check },
];

const NOT_ROOT: Outcome = Outcome::Skipped("needs root, to load BPF programs");

fn cargo(arguments: &[&str]) -> anyhow::Result<Outcome> {
    exec::exec(workspace::cargo()?.args(arguments))?;
    Ok(Outcome::Passed)
}

/// Tests leave out what needs a program that is missing.
fn installed() -> anyhow::Result<Outcome> {
    let Ok(missing) = packages::missing(&Group::Test.packages()) else {
        return Ok(Outcome::Skipped("what is installed is known on Debian only"));
    };
    if missing.is_empty() {
        return Ok(Outcome::Passed);
    }
    eprintln!("missing: {}", missing.join(" "));
    Ok(Outcome::Skipped("some packages are missing, and tests that need them are left out: cargo xtask setup"))
}

fn fmt() -> anyhow::Result<Outcome> {
    cargo(&["fmt", "--all", "--check"])
}

fn clippy() -> anyhow::Result<Outcome> {
    let features = ["--features", "xtask/bench"];
    cargo(&[&["clippy", "--locked", "--workspace", "--all-targets"], &features[..], &["--", "-D", "warnings"]].concat())
}

/// Checked for the host, where there is a clippy: nothing is linked or assembled. Without std a panic can only abort;
/// inline assembly of BPF needs an unstable feature. Both would have cargo build shared crates anew, hence the folder
/// of its own.
fn clippy_bpf() -> anyhow::Result<Outcome> {
    let programs = ["--package", "tracer-ebpf", "--bin", "tracer-ebpf", "--features", "programs"];
    exec::exec(
        workspace::cargo()?
            .args(["clippy", "--locked"])
            .args(programs)
            .args(["--", "-D", "warnings"])
            .env("CARGO_PROFILE_DEV_PANIC", "abort")
            .env("CARGO_TARGET_DIR", workspace::target_dir()?.join("clippy-bpf"))
            .env("RUSTC_BOOTSTRAP", "1"),
    )?;
    Ok(Outcome::Passed)
}

fn doc() -> anyhow::Result<Outcome> {
    let arguments = ["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"];
    // Private items are documented as well, so a link to one leads somewhere.
    let flags = "-D warnings -A rustdoc::private_intra_doc_links";
    exec::exec(workspace::cargo()?.args(arguments).env("RUSTDOCFLAGS", flags))?;
    Ok(Outcome::Passed)
}

fn bpf_object() -> anyhow::Result<Outcome> {
    Ok(match build_ebpf::check()? {
        build_ebpf::Compared::Bytes => Outcome::Passed,
        build_ebpf::Compared::Names => Outcome::PassedBut("NOT BYTE BY BYTE: the toolchain here is another, see above"),
    })
}

fn unit() -> anyhow::Result<Outcome> {
    cargo(&["test", "--locked", "--workspace", "--features", "xtask/bench", "--no-fail-fast"])
}

fn fuzz_check() -> anyhow::Result<Outcome> {
    let Some(cargo_fuzz) = CargoFuzz::find()? else {
        return Ok(Outcome::Skipped("needs cargo-fuzz: cargo xtask setup"));
    };
    fuzz::briefly(&cargo_fuzz)?;
    Ok(Outcome::Passed)
}

/// One test at a time: each traces the system, and counts what it sees.
fn kernel() -> anyhow::Result<Outcome> {
    if !workspace::is_root() {
        return Ok(NOT_ROOT);
    }
    cargo(&["test", "--locked", "--package", "tracer", "--test", "kernel", "--no-fail-fast", "--", "--test-threads=1"])
}

/// As users run it, optimized: the test is left out of the unit tests, which are not.
fn hold() -> anyhow::Result<Outcome> {
    let test = ["test", "--release", "--locked", "--package", "target-server", "--test", "server", "hold"];
    cargo(&[&test[..], &["--", "--ignored", "--nocapture"]].concat())
}

fn demo_check() -> anyhow::Result<Outcome> {
    if !workspace::is_root() {
        return Ok(NOT_ROOT);
    }
    demo::check::check()?;
    Ok(Outcome::Passed)
}
