//! The benchmarks: a table of them, one file for each.

mod attachment;
mod awake;
mod budget;
mod bursts;
mod cpu_clock;
mod failures;
mod game;
mod goal;
mod hit;
mod interleave;
mod live;
mod loops;
mod own;
mod piped;
mod probes;
mod programs;
mod recordings;
mod redis;
mod render;
mod report;
mod scale;
mod spread;
mod subjects;
mod target;
mod toggle;
mod tools;
mod unwind;
mod verified;

use std::time::Instant;

use anyhow::{anyhow, bail};

use self::{goal::Goal, report::Section, scale::Scale};
use crate::workspace;

struct Bench {
    name: &'static str,
    run: fn(&mut Section, Scale) -> anyhow::Result<()>,
}

const BENCHES: &[Bench] = &[
    Bench { name: "budget", run: budget::run },
    Bench { name: "bursts", run: bursts::run },
    Bench { name: "game server", run: game::run },
    Bench { name: "hit", run: hit::run },
    Bench { name: "live", run: live::run },
    Bench { name: "loop", run: loops::run },
    Bench { name: "own", run: own::run },
    Bench { name: "programs", run: programs::run },
    Bench { name: "redis", run: redis::run },
    Bench { name: "render", run: render::run },
    Bench { name: "toggle", run: toggle::run },
    Bench { name: "unwind", run: unwind::run },
];

/// Runs the benchmarks of these names, or all; into the document, unless they are only to be tried. One that fails says so in
/// its section, and the others run.
///
/// # Errors
/// A name that is none, a document that cannot be written, or at the end the names of the benchmarks that failed.
pub fn run(names: &[String], quick: bool) -> anyhow::Result<()> {
    let scale = Scale { quick };
    if let Some(unknown) = names.iter().find(|name| BENCHES.iter().all(|bench| bench.name != **name)) {
        let known: Vec<_> = BENCHES.iter().map(|bench| bench.name).collect();
        bail!("there is no benchmark {unknown:?}; there are {}", known.join(", "));
    }
    if !workspace::is_root() {
        bail!("benchmarks load BPF programs: run `sudo cargo xtask bench`");
    }
    let begin = Instant::now();
    let (mut goals, mut failed) = (Vec::new(), Vec::new());
    for bench in BENCHES.iter().filter(|bench| names.is_empty() || names.iter().any(|name| name == bench.name)) {
        let start = Instant::now();
        eprintln!("== {}", bench.name);
        let mut section = Section::new(bench.name);
        section.line(&crate::host::describe());
        if let Err(error) = (bench.run)(&mut section, scale) {
            eprintln!("{} failed: {error:#}", bench.name);
            section.line(&format!("This benchmark failed: {error:#}"));
            failed.push(bench.name);
        }
        section.publish(!quick)?;
        goals.extend(section.goals().iter().map(|goal| (bench.name, goal.clone())));
        eprintln!("{} took {:.0} s", bench.name, start.elapsed().as_secs_f64());
    }
    summarize(&goals);
    eprintln!("all took {:.0} s", begin.elapsed().as_secs_f64());
    if failed.is_empty() { Ok(()) } else { Err(anyhow!("failed: {}", failed.join(", "))) }
}

fn summarize(goals: &[(&str, Goal)]) {
    for (name, Goal { what, verdict, found }) in goals {
        eprintln!("{name}: {what}: {verdict} ({found})");
    }
}
