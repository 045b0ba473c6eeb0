//! The benchmarks: a table of them, one file for each.

mod attachment;
mod game;
mod hit;
mod interleave;
mod live;
mod loops;
mod probes;
mod programs;
mod redis;
mod render;
mod report;
mod scale;
mod spread;
mod target;
mod tools;
mod unwind;

use std::time::Instant;

use anyhow::bail;

use self::{report::Section, scale::Scale};
use crate::workspace;

struct Bench {
    name: &'static str,
    run: fn(&mut Section, Scale) -> anyhow::Result<()>,
}

const BENCHES: &[Bench] = &[
    Bench { name: "game server", run: game::run },
    Bench { name: "hit", run: hit::run },
    Bench { name: "live", run: live::run },
    Bench { name: "loop", run: loops::run },
    Bench { name: "programs", run: programs::run },
    Bench { name: "redis", run: redis::run },
    Bench { name: "render", run: render::run },
    Bench { name: "unwind", run: unwind::run },
];

/// Runs the benchmarks of these names, or all; into the document, unless they are only to be tried.
///
/// # Errors
/// A name that is none, or a benchmark that failed; those before it are in the document.
pub fn run(names: &[String], quick: bool) -> anyhow::Result<()> {
    let scale = Scale { quick };
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
        section.line(&crate::host::describe());
        (bench.run)(&mut section, scale)?;
        section.publish(!quick)?;
        eprintln!("{} took {:.0} s", bench.name, start.elapsed().as_secs_f64());
    }
    Ok(())
}
