//! cargo-fuzz: builds the targets with libFuzzer and sanitizers.

use std::{fs, path::PathBuf, process::Command};

use crate::{exec, workspace};

/// The version that is installed where there is none.
const VERSION: &str = "0.13.2";

/// A cargo-fuzz that runs.
pub struct CargoFuzz {
    program: PathBuf,
}

impl CargoFuzz {
    /// The one on the path, or the one that [`Self::install`] has put into the target directory.
    ///
    /// # Errors
    /// When the target directory cannot be found.
    pub fn find() -> anyhow::Result<Option<Self>> {
        let installed = folder()?.join("bin/cargo-fuzz");
        let runs =
            |path: &PathBuf| Command::new(path).arg("--version").output().is_ok_and(|output| output.status.success());
        Ok([PathBuf::from("cargo-fuzz"), installed].into_iter().find(runs).map(|program| Self { program }))
    }

    /// Builds it, unless there is one (about a minute on two cores).
    ///
    /// # Errors
    /// When it cannot be downloaded or compiled.
    pub fn install() -> anyhow::Result<()> {
        if Self::find()?.is_some() {
            return Ok(());
        }
        eprintln!("building cargo-fuzz {VERSION}");
        let (folder, build) = (folder()?, workspace::target_dir()?.join("cargo-fuzz-build"));
        exec::exec(
            workspace::cargo()?
                .args(["install", "--quiet", "--locked", "cargo-fuzz", "--version", VERSION, "--root"])
                .arg(&folder)
                .arg("--target-dir")
                .arg(&build),
        )?;
        fs::remove_dir_all(&build).ok();
        Ok(())
    }

    /// One of its subcommands, to be run in the root of the checkout.
    ///
    /// # Errors
    /// When the checkout is gone.
    pub fn command(&self, subcommand: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.program);
        // It asks for sanitizers, which are for nightly compilers only.
        command.arg(subcommand).current_dir(workspace::root()?).env("RUSTC_BOOTSTRAP", "1");
        Ok(command)
    }
}

fn folder() -> anyhow::Result<PathBuf> {
    Ok(workspace::target_dir()?.join(format!("cargo-fuzz-{VERSION}")))
}
