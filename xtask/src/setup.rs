//! `cargo xtask setup`: everything that `cargo xtask test` needs, `cargo xtask bench` and `cargo xtask kernels`.

use crate::{
    fuzz::program::CargoFuzz,
    packages::{self, Group},
};

/// Installs the Debian packages that `cargo xtask test` needs (as root; else prints the command), and cargo-fuzz.
#[derive(clap::Args)]
pub struct Options {
    /// Also those that `cargo xtask bench` compares tracer with.
    #[arg(long)]
    bench: bool,
    /// Also those that `cargo xtask kernels` boots kernels with.
    #[arg(long)]
    kernels: bool,
}

/// Installs what is missing.
///
/// # Errors
/// As [`packages::install`] and [`CargoFuzz::install`].
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut needed: Vec<&str> = Group::ALL.iter().flat_map(|group| group.packages()).collect();
    if options.bench {
        needed.extend(packages::for_benchmarks());
    }
    if options.kernels {
        needed.extend(packages::for_kernels());
    }
    // It needs none of the packages, and can be had where those cannot.
    CargoFuzz::install()?;
    packages::install(&needed)
}
