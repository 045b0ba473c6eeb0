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
    if options.check { check().map(drop) } else { write() }
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

/// How much of the committed object was compared with what the sources give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// Every byte.
    Bytes,
    /// Hashes of the sources, and the names of the programs: the toolchain here is another.
    Names,
}

/// Compares the committed object with the sources.
///
/// Another toolchain is no error, in CI neither: Debian updates its compiler and CI its Rust when nobody has changed anything
/// here, and every change would fail until somebody builds the object anew. The caller is told, and has to say it.
///
/// # Errors
/// As [`run`] with `--check`.
pub fn check() -> anyhow::Result<Compared> {
    let object = committed(OBJECT)?;
    let record: Record = String::from_utf8_lossy(&committed(RECORD)?).parse()?;
    let inputs = inputs::inputs()?;

    // What needs no compiler comes first.
    if let Some(how) = disagreement(&record, &inputs, &inputs::digest(&object), &programs::programs(&object)?) {
        bail!("{how}");
    }

    let build = build(&inputs)?;
    let other = record.differences(Kind::Toolchain, build.record.lines(Kind::Toolchain));
    if !other.is_empty() {
        let programs = record.differences(Kind::Program, build.record.lines(Kind::Program));
        if !programs.is_empty() {
            bail!("{OBJECT} has other programs than its sources give:\n  {}", programs.join("\n  "));
        }
        eprintln!("{OBJECT}: built from these sources, says {RECORD}; its programs are those that they give.");
        eprintln!("warning: its bytes were not compared: the toolchain here is another:\n  {}", other.join("\n  "));
        return Ok(Compared::Names);
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
    Ok(Compared::Bytes)
}

/// How sources and committed object disagree with the record, as far as no compiler is needed to see it. `object` is the
/// object's digest, `programs` are those in it.
fn disagreement(record: &Record, inputs: &[String], object: &str, programs: &[String]) -> Option<String> {
    let changed = record.differences(Kind::Input, inputs);
    if !changed.is_empty() {
        let changed = changed.join("\n  ");
        return Some(format!("{OBJECT} was built from other sources: run `cargo xtask build-ebpf`\n  {changed}"));
    }
    let of_object = record.differences(Kind::Object, &[object.to_owned()]);
    let of_programs = record.differences(Kind::Program, programs);
    let others = [of_object, of_programs].concat();
    let others = (!others.is_empty()).then(|| others.join("\n  "))?;
    Some(format!("{OBJECT} is not the object that {RECORD} describes: run `cargo xtask build-ebpf`\n  {others}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUTS: [&str; 3] = ["crate aya-ebpf 0.2.1", "crate aya-ebpf-cty 0.3.0", "aa tracer-ebpf/src/main.rs"];
    const PROGRAMS: [&str; 2] = ["allocation (uprobe)", "walk (uprobe)"];

    fn owned(lines: &[&str]) -> Vec<String> {
        lines.iter().copied().map(str::to_owned).collect()
    }

    /// Of the record, when this is found.
    fn found(inputs: &[&str], object: &str, programs: &[&str]) -> Option<String> {
        let record = Record::new([
            (Kind::Toolchain, owned(&["rustc 1.96.0"])),
            (Kind::Input, owned(&INPUTS)),
            (Kind::Object, owned(&["cc"])),
            (Kind::Program, owned(&PROGRAMS)),
        ]);
        disagreement(&record, &owned(inputs), object, &owned(programs))
    }

    #[test]
    fn what_is_as_recorded_agrees() {
        assert_eq!(found(&INPUTS, "cc", &PROGRAMS), None);
    }

    #[test]
    fn changed_source_is_told() {
        let inputs = [INPUTS[0], INPUTS[1], "bb tracer-ebpf/src/main.rs"];
        let how = found(&inputs, "cc", &PROGRAMS).unwrap();
        assert!(
            how.contains("other sources")
                && how.ends_with("  - aa tracer-ebpf/src/main.rs\n  + bb tracer-ebpf/src/main.rs"),
            "{how}"
        );
    }

    #[test]
    fn missing_crate_is_told() {
        let how = found(&[INPUTS[0], INPUTS[2]], "cc", &PROGRAMS).unwrap();
        assert!(how.contains("- crate aya-ebpf-cty 0.3.0") && !how.contains("+ "), "{how}");
    }

    #[test]
    fn changed_object_is_told() {
        let how = found(&INPUTS, "dd", &PROGRAMS).unwrap();
        assert!(how.contains("not the object") && how.contains("- cc\n  + dd"), "{how}");
        let how = found(&INPUTS, "cc", &PROGRAMS[..1]).unwrap();
        assert!(how.contains("- walk (uprobe)"), "{how}");
    }
}
