//! From the sources of `tracer-ebpf` to an object whose bytes do not depend on the machine.
//!
//! The bitcode goes through bpf-linker (`--btf`: type information, which loading needs). Names of files are rewritten
//! to what is the same everywhere: BTF carries them, and the verifier's log shows them. Our own sources stay relative
//! to the working directory of the linker, so that LLVM finds them and the log shows their lines too.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{linker::Linker, toolchain::Toolchain};
use crate::{exec, workspace};

/// Little-endian BPF.
pub const TARGET: &str = "bpfel-unknown-none";

/// Flags of every crate. `bpf_target_arch` selects the registers that probes see (`pt_regs`); BPF v3 has 32-bit jumps
/// and atomic operations, and every kernel that has `bpf_loop` (5.17) runs it.
const RUSTFLAGS: [&str; 3] = [r#"--cfg=bpf_target_arch="x86_64""#, "-Ctarget-cpu=v3", "-Clink-arg=--btf"];

/// The whole profile, so that no change of the workspace's release profile changes the object.
const PROFILE: [(&str, &str); 9] = [
    ("CODEGEN_UNITS", "1"),
    ("DEBUG", "2"),
    ("DEBUG_ASSERTIONS", "false"),
    ("INCREMENTAL", "false"),
    ("LTO", "false"),
    ("OPT_LEVEL", "3"),
    ("OVERFLOW_CHECKS", "false"),
    ("SPLIT_DEBUGINFO", "off"),
    ("STRIP", "none"),
];

/// What a caller's environment could change.
const UNSET: [&str; 6] =
    ["CARGO_BUILD_TARGET", "CARGO_TARGET_DIR", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "RUSTDOCFLAGS"];

/// The part of the build that is no source: one line for each flag and setting.
pub fn recipe() -> Vec<String> {
    let flags = RUSTFLAGS.iter().map(|flag| format!("flag {flag}"));
    flags.chain(PROFILE.iter().map(|(name, value)| format!("profile {name}={value}"))).collect()
}

/// Compiles, links, and drops DWARF (BTF stays); returns the bytes of the object.
///
/// # Errors
/// When the sources do not compile.
pub fn compile(toolchain: &Toolchain, linker: &Linker, directory: &Path) -> anyhow::Result<Vec<u8>> {
    let mut cargo = workspace::cargo()?;
    cargo
        .args(["build", "--locked", "--release", "-Zbuild-std=core", "--target", TARGET])
        .args(["--package", "tracer-ebpf", "--bin", "tracer-ebpf", "--features", "programs", "--target-dir"])
        .arg(directory)
        .env("RUSTC", &toolchain.rustc)
        // Building core is not stable; see the head of toolchain.rs.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(toolchain, linker)?);
    for name in UNSET {
        cargo.env_remove(name);
    }
    for (name, value) in PROFILE {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
    }
    exec::exec(&mut cargo)?;

    let linked = directory.join(TARGET).join("release/tracer-ebpf");
    let stripped = directory.join("tracer.bpf.o");
    let objcopy = toolchain.llvm.prefix.join("bin/llvm-objcopy");
    exec::exec(std::process::Command::new(objcopy).arg("--strip-debug").args([&linked, &stripped]))?;
    fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))
}

fn rustflags(toolchain: &Toolchain, linker: &Linker) -> anyhow::Result<OsString> {
    let mut flags: Vec<OsString> = RUSTFLAGS.map(OsString::from).to_vec();
    flags.push(pair("-Clinker=", &linker.path, ""));
    flags.push(pair("--remap-path-prefix=", &workspace::root()?, "=."));
    for path in toolchain.rust_source_paths() {
        flags.push(pair("--remap-path-prefix=", &path, "=/rust"));
    }
    for path in registry_sources()? {
        flags.push(pair("--remap-path-prefix=", &path, "=/crates"));
    }
    // The separator of CARGO_ENCODED_RUSTFLAGS.
    Ok(flags.join("\u{1f}".as_ref()))
}

fn pair(before: &str, path: &Path, after: &str) -> OsString {
    let mut text = OsString::from(before);
    text.push(path);
    text.push(after);
    text
}

/// The folders that hold unpacked crates: one for each registry, named by a hash that differs between machines.
fn registry_sources() -> anyhow::Result<Vec<PathBuf>> {
    // Before the first build there may be none: let cargo unpack what is locked.
    exec::exec(workspace::cargo()?.args(["fetch", "--quiet", "--locked"]))?;
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    let sources = cargo_home.join("registry/src");
    let mut folders = Vec::new();
    for entry in fs::read_dir(&sources).with_context(|| format!("cannot list {}", sources.display()))? {
        folders.push(entry.with_context(|| format!("cannot list {}", sources.display()))?.path());
    }
    Ok(folders)
}
