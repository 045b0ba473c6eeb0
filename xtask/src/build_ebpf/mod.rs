//! `cargo xtask build-ebpf`: the committed BPF object, and the proof that it is what the sources give.
//!
//! The object is committed so that `cargo build` needs stable Rust and nothing else. Beside it lies a [`record`] of
//! what it was built from and with. `--check` compares the record with the sources, and builds the object again: with
//! the recorded toolchain the bytes must be the same on every machine, whatever the path of the checkout.

mod compile;
mod inputs;
mod linker;
mod programs;
mod record;
mod toolchain;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};

use self::{
    linker::Linker,
    record::{Kind, Record},
    toolchain::Toolchain,
};
use crate::workspace;

const OBJECT: &str = "tracer/bpf/tracer.bpf.o";
const RECORD: &str = "tracer/bpf/tracer.bpf.txt";

/// Builds the BPF programs into tracer/bpf/tracer.bpf.o.
#[derive(clap::Args)]
pub struct Options {
    /// Change nothing; fail when the committed object is not what the sources give.
    #[arg(long)]
    check: bool,
}

/// Builds, then writes or compares.
///
/// # Errors
/// When there is no toolchain and none can be installed, when the sources do not compile, or with `--check` when the
/// committed object is not theirs.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if options.check { check() } else { write() }
}

/// An object just built, and its record.
struct Build {
    object: Vec<u8>,
    record: Record,
}

fn build(inputs: &[String]) -> anyhow::Result<Build> {
    let directory = workspace::target_dir()?.join("bpf");
    let toolchain = Toolchain::find_or_install()?;
    let linker = Linker::install(&toolchain.llvm, &directory)?;
    let object = compile::compile(&toolchain, &linker, &directory)?;
    let record = Record::new([
        (Kind::Toolchain, [toolchain.describe()?, linker.describe()].concat()),
        (Kind::Input, inputs.to_vec()),
        (Kind::Object, vec![inputs::digest(&object)]),
        (Kind::Program, programs::programs(&object)?),
    ]);
    Ok(Build { object, record })
}

fn write() -> anyhow::Result<()> {
    let build = build(&inputs::inputs()?)?;
    put(OBJECT, &build.object)?;
    put(RECORD, build.record.to_string().as_bytes())?;
    eprintln!("{OBJECT}: {} bytes", build.object.len());
    for program in build.record.lines(Kind::Program) {
        eprintln!("  {program}");
    }
    Ok(())
}

fn put(path: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = workspace::root()?.join(path);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    }
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn committed(path: &str) -> anyhow::Result<Vec<u8>> {
    let path: PathBuf = workspace::root()?.join(path);
    fs::read(&path).with_context(|| format!("cannot read {}: run `cargo xtask build-ebpf`", path.display()))
}

/// Compares the committed object with the sources.
///
/// # Errors
/// As [`run`] with `--check`.
pub fn check() -> anyhow::Result<()> {
    let object = committed(OBJECT)?;
    let record: Record = String::from_utf8_lossy(&committed(RECORD)?).parse()?;
    let inputs = inputs::inputs()?;

    // What needs no compiler comes first.
    let changed = record.differences(Kind::Input, &inputs);
    if !changed.is_empty() {
        bail!("{OBJECT} was built from other sources: run `cargo xtask build-ebpf`\n  {}", changed.join("\n  "));
    }
    if !record.differences(Kind::Object, &[inputs::digest(&object)]).is_empty() {
        bail!("{OBJECT} is not the object that {RECORD} describes: run `cargo xtask build-ebpf`");
    }

    let build = build(&inputs)?;
    let other = record.differences(Kind::Toolchain, build.record.lines(Kind::Toolchain));
    if !other.is_empty() {
        eprintln!("{OBJECT}: built from these sources, says {RECORD}.");
        eprintln!("Its bytes were not compared, because the toolchain here is another:\n  {}", other.join("\n  "));
        return Ok(());
    }
    if build.object != object {
        let rebuilt = workspace::target_dir()?.join("bpf/rebuilt.o");
        fs::write(&rebuilt, &build.object).with_context(|| format!("cannot write {}", rebuilt.display()))?;
        bail!(
            "{OBJECT} is not what its sources and its toolchain give: compare it with {}, and if that is right, run \
             `cargo xtask build-ebpf`",
            rebuilt.display()
        );
    }
    eprintln!("{OBJECT}: {} bytes, the same as rebuilt", object.len());
    Ok(())
}
