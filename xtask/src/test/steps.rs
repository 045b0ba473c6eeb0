//! The steps, cheapest first.

use super::{Outcome, markdown};
use crate::{build_ebpf, demo, exec, workspace};

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
    Step { name: "fmt", about: "rustfmt changes nothing", run: fmt },
    Step { name: "clippy", about: "no lint fires, in any target", run: clippy },
    Step { name: "clippy-bpf", about: "no lint fires in the BPF programs", run: clippy_bpf },
    Step { name: "doc", about: "the API documentation builds, and its links lead somewhere", run: doc },
    Step { name: "bpf-object", about: "the committed BPF object is what the sources give", run: bpf_object },
    Step { name: "unit", about: "unit, property, command-line and documentation tests", run: unit },
    Step { name: "markdown", about: "commands and links in the documents work", run: markdown::check },
    Step { name: "kernel", about: "tests against the running kernel", run: kernel },
    Step { name: "hold", about: "the game server holds 1,000 connections for a minute", run: hold },
    Step { name: "demo", about: "a short demo finds the functions that allocate", run: demo_check },
];

const NOT_ROOT: Outcome = Outcome::Skipped("needs root, to load BPF programs");

fn cargo(arguments: &[&str]) -> anyhow::Result<Outcome> {
    exec::exec(workspace::cargo()?.args(arguments))?;
    Ok(Outcome::Passed)
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
    build_ebpf::check()?;
    Ok(Outcome::Passed)
}

fn unit() -> anyhow::Result<Outcome> {
    cargo(&["test", "--locked", "--workspace", "--features", "xtask/bench", "--no-fail-fast"])
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
