//! Where things are, and the cargo that runs us.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, anyhow};

/// The root of the checkout.
///
/// # Errors
/// When the checkout that xtask was built from has gone.
pub fn root() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::canonicalize(&root).with_context(|| format!("the checkout at {} is gone", root.display()))
}

/// Cargo's target directory, found from where xtask itself was built (`TARGET/debug/xtask`), so that every way to move
/// it counts.
///
/// # Errors
/// When the path of the running program cannot be read.
pub fn target_dir() -> anyhow::Result<PathBuf> {
    let program = env::current_exe().context("cannot find where xtask was built")?;
    let profile = program.parent().ok_or_else(|| anyhow!("{} has no parent", program.display()))?;
    // Unit tests run from TARGET/debug/deps.
    let profile = if profile.ends_with("deps") { profile.parent().unwrap_or(profile) } else { profile };
    let target = profile.parent().ok_or_else(|| anyhow!("{} is not in a target directory", program.display()))?;
    Ok(target.to_owned())
}

/// The cargo that started xtask, to be run in the root of the checkout.
///
/// # Errors
/// As [`root`].
pub fn cargo() -> anyhow::Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()?);
    Ok(command)
}

/// Whether we may load BPF programs and install packages.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether this is CI, where everything is to run: nothing may be left out because something is missing.
pub fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}
