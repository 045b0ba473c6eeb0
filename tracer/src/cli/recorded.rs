//! Recordings that a command line names.

use std::{fs::File, io::BufReader, path::Path};

use anyhow::Context as _;

use crate::recording::{Recording, pprof};

/// Reads a recording.
///
/// # Errors
/// When there is no such file, or it is something else; says which file.
pub fn read(path: &Path) -> anyhow::Result<Recording> {
    let read =
        || -> anyhow::Result<_> { Ok(pprof::read(BufReader::new(File::open(path)?), &pprof::Limits::default())?) };
    read().with_context(|| format!("cannot read the recording {}", path.display()))
}
