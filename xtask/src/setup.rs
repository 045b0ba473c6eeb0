//! `cargo xtask setup`: everything that `cargo xtask test` needs, and `cargo xtask bench`.

use crate::packages::{self, Group};

/// Installs the Debian packages that `cargo xtask test` needs (as root; else prints the command).
#[derive(clap::Args)]
pub struct Options {
    /// Also those that `cargo xtask bench` compares tracer with.
    #[arg(long)]
    bench: bool,
}

/// Installs what is missing.
///
/// # Errors
/// As [`packages::install`].
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut needed: Vec<&str> = Group::ALL.iter().flat_map(|group| group.packages()).collect();
    if options.bench {
        needed.extend(packages::for_benchmarks());
    }
    packages::install(&needed)
}
