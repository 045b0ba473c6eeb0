//! Debian packages: which are needed (`.ci/packages`; for benchmarks `xtask/bench-packages`, for kernels `xtask/kernel-packages`), which are missing, and how to
//! install them.

use std::process::Command;

use anyhow::{Context as _, bail};

use crate::{exec, workspace};

const LIST: &str = include_str!("../../.ci/packages");
const BENCH: &str = include_str!("../bench-packages");
const KERNELS: &str = include_str!("../kernel-packages");
/// Tries for each apt-get call: a mirror may fail for a moment.
const TRIES: u32 = 3;

/// A group of packages in `.ci/packages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The compiler of the BPF programs.
    BpfToolchain,
    /// What the tests run.
    Test,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 2] = [Self::BpfToolchain, Self::Test];

    fn heading(self) -> &'static str {
        match self {
            Self::BpfToolchain => "[bpf-toolchain]",
            Self::Test => "[test]",
        }
    }

    /// Its packages, in the order of the list.
    pub fn packages(self) -> Vec<&'static str> {
        LIST.lines()
            .map(str::trim)
            .skip_while(|line| *line != self.heading())
            .skip(1)
            .take_while(|line| !line.starts_with('['))
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect()
    }
}

/// What benchmarks compare tracer with, and on which programs. No test needs them.
pub fn for_benchmarks() -> Vec<&'static str> {
    listed(BENCH)
}

/// What other kernels are booted with. No test needs them.
pub fn for_kernels() -> Vec<&'static str> {
    listed(KERNELS)
}

fn listed(list: &'static str) -> Vec<&'static str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// Installs those of `packages` that are missing, by apt-get.
///
/// # Errors
/// When a package is missing and we are not root (the error is the command to type), when this is no Debian, or when
/// apt-get keeps failing.
pub fn install(packages: &[&str]) -> anyhow::Result<()> {
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !workspace::is_root() {
        bail!("packages are missing; install them: sudo apt-get update && sudo apt-get install {}", missing.join(" "));
    }
    eprintln!("installing {}", missing.join(" "));
    apt_get(&["update"])?;
    apt_get(&[["install", "--yes", "--no-install-recommends"].as_slice(), &missing].concat())
}

/// Those of `packages` that are not installed.
///
/// # Errors
/// When this is no Debian.
pub fn missing<'a>(packages: &[&'a str]) -> anyhow::Result<Vec<&'a str>> {
    // dpkg-query fails when it knows nothing of one of the names, and still answers for the others.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${Status}\n"])
        .args(packages)
        .output()
        .context("dpkg-query does not run: packages are installed on Debian only; elsewhere see .ci/packages")?;
    let known = String::from_utf8_lossy(&output.stdout);
    let is_installed = |package: &str| known.lines().any(|line| line == format!("{package} install ok installed"));
    Ok(packages.iter().copied().filter(|package| !is_installed(package)).collect())
}

fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=120"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    for _ in 1..TRIES {
        match exec::exec(&mut command) {
            Ok(()) => return Ok(()),
            Err(error) => eprintln!("{error:#}; trying again"),
        }
    }
    exec::exec(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_every_package_once() {
        let listed: Vec<_> = Group::ALL.iter().flat_map(|group| group.packages()).collect();
        let lines = LIST.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '[']));
        assert_eq!(listed, lines.collect::<Vec<_>>(), "a line of .ci/packages is in no known group");
        let mut unique = listed.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), listed.len());
    }

    #[test]
    fn packages_are_plain_names() {
        for package in Group::ALL.iter().flat_map(|group| group.packages()).chain(for_benchmarks()).chain(for_kernels())
        {
            assert!(package.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)), "{package:?}");
        }
    }

    #[test]
    fn unknown_package_is_missing_and_installed_one_is_not() {
        if Command::new("dpkg-query").arg("--version").output().is_err() {
            eprintln!("skipped: no dpkg here");
            return;
        }
        assert_eq!(missing(&["dpkg", "no-such-package-here"]).unwrap(), ["no-such-package-here"]);
    }
}
