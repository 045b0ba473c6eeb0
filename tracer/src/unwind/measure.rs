//! What a table costs.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use object::read::ReadCache;

use super::{BuildError, Coverage, ModuleTable};

/// The cost of one module's table.
#[derive(Clone, Debug)]
pub struct TableCost {
    /// Shortest time that a build took, reading the file included.
    pub build: Duration,
    /// Rows of the table.
    pub rows: usize,
    /// Distinct rules.
    pub rules: usize,
    /// Bytes of kernel memory.
    pub bytes: u64,
    /// What is described.
    pub coverage: Coverage,
}

impl TableCost {
    /// KiB of table for each MiB of text.
    pub fn kib_per_mib(&self) -> f64 {
        1024.0 * self.bytes as f64 / self.coverage.text.max(1) as f64
    }
}

/// Builds the table of a file `repeats` times (at least once), by one thread.
///
/// # Errors
/// Where the file cannot be opened, no table can be built, or no thread started.
pub fn measure(path: &Path, repeats: u32) -> Result<TableCost, MeasureError> {
    let file = File::open(path)?;
    // A build uses all threads of its pool.
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let build = || {
        one.install(|| {
            let start = Instant::now();
            ModuleTable::build(&ReadCache::new(&file)).map(|table| (start.elapsed(), table))
        })
    };
    let (mut shortest, table) = build()?;
    for _ in 1..repeats {
        shortest = shortest.min(build()?.0);
    }
    let (rows, rules) = (table.rows().len(), table.rules().len());
    Ok(TableCost { build: shortest, rows, rules, bytes: table.bytes(), coverage: table.coverage() })
}

/// Why a file could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// It cannot be read.
    #[error("cannot open the file")]
    Open(#[from] std::io::Error),
    /// It has no table.
    #[error("cannot build its unwind table")]
    Build(#[from] BuildError),
    /// There is no thread for it.
    #[error("cannot start a thread")]
    Thread(#[from] rayon::ThreadPoolBuildError),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `TRACER_MEASURE=/path:/path cargo test --release -p tracer measure -- --ignored --nocapture`
    #[test]
    #[ignore = "measures the files named in TRACER_MEASURE"]
    fn files() {
        let files = std::env::var("TRACER_MEASURE").unwrap();
        for path in files.split(':') {
            let cost = measure(Path::new(path), 7).unwrap();
            println!("{path}\n    {:.1} KiB/MiB {cost:?}", cost.kib_per_mib());
        }
    }
}
