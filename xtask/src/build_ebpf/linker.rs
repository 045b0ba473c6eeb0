//! bpf-linker: LLVM's BPF backend behind the interface of a linker. Built from crates.io into the target directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::toolchain::Llvm;
use crate::{exec, workspace};

/// The version built. Part of the inputs of the object.
pub const VERSION: &str = "0.13.0";

/// A bpf-linker that reads the bitcode of one LLVM.
pub struct Linker {
    /// The program.
    pub path: PathBuf,
}

impl Linker {
    /// Builds it below `directory`, unless it is there (about two minutes on two cores).
    ///
    /// # Errors
    /// When it cannot be downloaded or compiled.
    pub fn install(llvm: &Llvm, directory: &Path) -> anyhow::Result<Self> {
        let root = directory.join(format!("bpf-linker-{VERSION}-llvm-{}", llvm.version));
        let path = root.join("bin/bpf-linker");
        if !path.exists() {
            eprintln!("building bpf-linker {VERSION} with LLVM {}", llvm.version);
            let build = directory.join("bpf-linker-build");
            exec::exec(
                workspace::cargo()?
                    .args(["install", "--quiet", "--locked", "bpf-linker", "--version", VERSION])
                    .args(["--no-default-features", "--features"])
                    .arg(format!("llvm-{}", llvm.major()))
                    .arg("--root")
                    .arg(&root)
                    .arg("--target-dir")
                    .arg(&build)
                    .env("LLVM_PREFIX", &llvm.prefix),
            )?;
            fs::remove_dir_all(&build).ok();
        }
        Ok(Self { path })
    }

    /// Its line in the record.
    pub fn describe(&self) -> Vec<String> {
        vec![format!("bpf-linker {VERSION}")]
    }
}
