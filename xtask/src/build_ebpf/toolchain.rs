//! A compiler for the BPF programs: a rustc that comes with the source of `core`, and the LLVM whose bitcode it writes.
//!
//! Any rustc from [`OLDEST`] on does: `RUSTC_BOOTSTRAP=1` lets a stable one build `core`. Debian's `rustc-web` is
//! asked first, because the committed object is built with it and only the same compiler gives the same bytes; else
//! the compiler of the workspace, when rustup has its `rust-src`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, anyhow, bail};

use crate::{
    exec,
    packages::{self, Group},
    workspace,
};

/// The oldest Rust that compiles the programs, for example `1.95`: `rust-version` of the workspace.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A compiler of the BPF programs.
pub struct Toolchain {
    /// The compiler itself, not a rustup proxy.
    pub rustc: PathBuf,
    /// The folder that holds `library/core`.
    pub rust_source: PathBuf,
    /// The LLVM of the same major version.
    pub llvm: Llvm,
    /// What `rustc -vV` says.
    verbose: String,
}

/// An LLVM with its headers.
pub struct Llvm {
    /// Where it is installed: `bin/llvm-config` and the libraries are below.
    pub prefix: PathBuf,
    /// For example `22.1.8`.
    pub version: String,
}

impl Llvm {
    /// The number before the first dot.
    pub fn major(&self) -> &str {
        self.version.split('.').next().unwrap_or_default()
    }

    fn find(major: &str) -> anyhow::Result<Self> {
        let names =
            [format!("/usr/lib/llvm-{major}/bin/llvm-config"), format!("llvm-config-{major}"), "llvm-config".into()];
        for config in names {
            let ask = |option| Command::new(&config).arg(option).output().ok().filter(|output| output.status.success());
            let (Some(version), Some(prefix)) = (ask("--version"), ask("--prefix")) else { continue };
            let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
            let prefix = PathBuf::from(String::from_utf8_lossy(&prefix.stdout).trim());
            if version.split('.').next() == Some(major) {
                return Ok(Self { prefix, version });
            }
        }
        Err(anyhow!("its LLVM is {major}, and there is no llvm-config of LLVM {major} (Debian: llvm-{major}-dev)"))
    }
}

impl Toolchain {
    /// The first that is complete, or else the first that can be completed: by apt-get as root, by rustup.
    ///
    /// # Errors
    /// When there is none: says of each what is missing, and the command that installs it.
    pub fn find_or_install() -> anyhow::Result<Self> {
        let debian = || Self::at(Path::new(DEBIAN_RUSTC));
        let active = || Self::at(&active_rustc()?);
        let install_debian = || {
            packages::install(&Group::BpfToolchain.packages())?;
            debian()
        };
        let install_rust_src = || {
            exec::exec(Command::new("rustup").args(["component", "add", "rust-src"]))?;
            active()
        };
        let attempts: [(&str, &dyn Fn() -> anyhow::Result<Self>); 4] = [
            ("Debian's rustc-web", &debian),
            ("the workspace's rustc", &active),
            ("Debian's rustc-web, installed", &install_debian),
            ("the workspace's rustc with rust-src", &install_rust_src),
        ];
        first(&attempts)
    }

    /// The toolchain of one rustc; the error says what it lacks.
    fn at(rustc: &Path) -> anyhow::Result<Self> {
        let verbose = exec::capture(Command::new(rustc).arg("-vV"))?;
        let release = field(&verbose, "release")?;
        if minor(release).is_none_or(|minor| Some(minor) < self::minor(OLDEST)) {
            bail!("{} is {release}, and the programs need {OLDEST}", rustc.display());
        }
        let rust_source = sysroot(rustc)?.join("lib/rustlib/src/rust");
        if !rust_source.join("library/core/Cargo.toml").exists() {
            bail!("the source of core is not in {} (rustup: rust-src; Debian: rust-web-src)", rust_source.display());
        }
        let llvm = Llvm::find(field(&verbose, "LLVM version")?.split('.').next().unwrap_or_default())?;
        Ok(Self { rustc: rustc.to_owned(), rust_source, llvm, verbose })
    }

    /// Its lines in the record: every version that can change the bytes of an object.
    ///
    /// # Errors
    /// When cargo cannot say its version.
    pub fn describe(&self) -> anyhow::Result<Vec<String>> {
        let rustc = self.verbose.lines().next().unwrap_or_default();
        let cargo = exec::capture(workspace::cargo()?.arg("--version"))?;
        Ok(vec![
            rustc.to_owned(),
            format!("LLVM of rustc {}", field(&self.verbose, "LLVM version")?),
            format!("LLVM of bpf-linker {}", self.llvm.version),
            // It makes up the part of a symbol that tells crates apart.
            cargo,
        ])
    }

    /// The paths of the source of `core`: as rustc names it, and where links lead.
    pub fn rust_source_paths(&self) -> Vec<PathBuf> {
        let mut paths = vec![self.rust_source.clone()];
        paths.extend(fs::canonicalize(&self.rust_source).ok().filter(|path| *path != self.rust_source));
        paths
    }
}

/// What the first attempt that succeeds gives; those behind it are not made.
fn first<T>(attempts: &[(&str, &dyn Fn() -> anyhow::Result<T>)]) -> anyhow::Result<T> {
    let mut reasons = Vec::new();
    for (name, attempt) in attempts {
        match attempt() {
            Ok(found) => return Ok(found),
            Err(reason) => reasons.push(format!("{name}: {reason:#}")),
        }
    }
    bail!("no compiler for the BPF programs:\n  {}", reasons.join("\n  "))
}

fn active_rustc() -> anyhow::Result<PathBuf> {
    Ok(sysroot(Path::new("rustc"))?.join("bin/rustc"))
}

fn sysroot(rustc: &Path) -> anyhow::Result<PathBuf> {
    Ok(exec::capture(Command::new(rustc).args(["--print", "sysroot"]))?.into())
}

/// A line `name: value` of `rustc -vV`.
fn field<'a>(verbose: &'a str, name: &str) -> anyhow::Result<&'a str> {
    verbose
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .with_context(|| format!("rustc -vV does not say its {name}"))
}

/// 95 of `1.95.0-nightly`.
fn minor(release: &str) -> Option<u32> {
    release.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERBOSE: &str = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4";

    #[test]
    fn fields_of_a_version() {
        assert_eq!(field(VERBOSE, "LLVM version").unwrap(), "22.1.4");
        assert_eq!(minor(field(VERBOSE, "release").unwrap()), Some(97));
        assert!(field(VERBOSE, "host").unwrap_err().to_string().contains("host"));
    }

    #[test]
    fn only_what_is_needed_is_installed() {
        let installed = std::cell::Cell::new(false);
        let missing = || Err(anyhow!("not there"));
        let here = || Ok(7);
        let install = || {
            installed.set(true);
            Ok(8)
        };
        assert_eq!(first(&[("a", &missing), ("b", &here), ("c", &install)]).unwrap(), 7);
        assert!(!installed.get(), "one was there");
        assert_eq!(first(&[("a", &missing), ("c", &install)]).unwrap(), 8);
    }

    #[test]
    fn every_attempt_says_why_it_failed() {
        let (no_source, not_root) = (|| Err(anyhow!("no source")), || Err(anyhow!("not root")));
        let error = first::<u8>(&[("Debian's", &no_source), ("installed", &not_root)]).unwrap_err().to_string();
        assert!(error.ends_with("\n  Debian's: no source\n  installed: not root"), "{error}");
    }

    #[test]
    fn readme_says_the_oldest() {
        assert_eq!(minor("1.95"), Some(95));
        assert!(minor(OLDEST).is_some());
        let readme = include_str!("../../../README.md");
        assert!(readme.contains(&format!("- To build: Rust {OLDEST} ")), "the README names another Rust than {OLDEST}");
    }
}
