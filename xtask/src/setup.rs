//! `cargo xtask setup`: everything that `cargo xtask test` needs.

use crate::packages::{self, Group};

/// Installs the Debian packages that `cargo xtask test` needs (as root; else prints the command).
#[derive(clap::Args)]
pub struct Options {}

/// Installs what is missing of `.ci/packages`.
///
/// # Errors
/// As [`packages::install`].
pub fn run(_: &Options) -> anyhow::Result<()> {
    packages::install(&Group::ALL.iter().flat_map(|group| group.packages()).collect::<Vec<_>>())
}
