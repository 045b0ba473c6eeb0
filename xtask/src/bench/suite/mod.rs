//! The benchmarks: a table of them, one file for each.

mod hit;
mod host;
mod interleave;
mod live;
mod peers;
mod probes;
mod render;
mod report;
mod spread;
mod target;
mod unwind;

use std::time::Instant;

use anyhow::bail;

use self::report::Section;
use crate::workspace;

struct Bench {
    name: &'static str,
    run: fn(&mut Section) -> anyhow::Result<()>,
}

const BENCHES: &[Bench] = &[
    Bench { name: "hit", run: hit::run },
    Bench { name: "live", run: live::run },
    Bench { name: "render", run: render::run },
    Bench { name: "unwind", run: unwind::run },
];

/// Runs the benchmarks of these names, or all.
///
/// # Errors
/// A name that is none, or a benchmark that failed; those before it are in the document.
pub fn run(names: &[String]) -> anyhow::Result<()> {
    if let Some(unknown) = names.iter().find(|name| BENCHES.iter().all(|bench| bench.name != **name)) {
        let known: Vec<_> = BENCHES.iter().map(|bench| bench.name).collect();
        bail!("there is no benchmark {unknown:?}; there are {}", known.join(", "));
    }
    if !workspace::is_root() {
        bail!("benchmarks load BPF programs: run `sudo cargo xtask bench`");
    }
    for bench in BENCHES.iter().filter(|bench| names.is_empty() || names.iter().any(|name| name == bench.name)) {
        let start = Instant::now();
        eprintln!("== {}", bench.name);
        let mut section = Section::new(bench.name);
        section.line(&host::describe());
        (bench.run)(&mut section)?;
        section.publish()?;
        eprintln!("{} took {:.0} s", bench.name, start.elapsed().as_secs_f64());
    }
    Ok(())
}
