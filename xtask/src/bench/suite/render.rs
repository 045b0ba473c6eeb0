//! From the end of a recording to its files: time and memory of each stage.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tracer::recording::{Recording, pprof};

use super::{
    report::Section,
    spread::Spread,
    target::{folder, is_installed},
};
use crate::demo::{
    background::Background,
    build_tracer,
    loaded_server::{Load, LoadedServer},
};

const SAMPLES: u64 = 100_000;
const FIRST: Duration = Duration::from_secs(2);
const DURATION: Duration = Duration::from_secs(6);
const RUNS: usize = 5;
const GAMES: u32 = 500;
const GOAL_MS: f64 = 2000.0;
const GOAL_MIB: f64 = 300.0;
const GOAL_DISCOVER_MS: f64 = 300.0;
/// Stages before the recording begins, and the one that ends it.
const BEFORE: [&str; 4] = ["scan", "discover", "attach", "detach"];

/// Records and renders node and the game server.
///
/// # Errors
/// When a target or tracer fails.
pub fn run(section: &mut Section) -> anyhow::Result<()> {
    let tracer = build_tracer()?;
    section.line(&format!(
        "Recordings of about {SAMPLES} samples in {} s. Time by the clock; memory is the most that tracer had in the stage.",
        DURATION.as_secs()
    ));
    if is_installed("node") {
        let script = folder()?.join("workload.js");
        fs::write(&script, include_str!("workload.js"))?;
        let mut node = Background::start(Command::new("node").arg(&script), &folder()?.join("node.log"))?;
        thread::sleep(Duration::from_secs(1));
        node.expect_running()?;
        measure(section, "node", &tracer, node.pid())?;
    } else {
        eprintln!("skipped: node is not installed");
    }
    let server = LoadedServer::start(Load { games: GAMES }, &folder()?)?;
    measure(section, "game server", &tracer, server.pid())?;
    server.stop()?;
    Ok(())
}

/// Milliseconds and MiB of a stage, by its name.
type Stages = BTreeMap<String, (f64, f64)>;

fn measure(section: &mut Section, name: &str, tracer: &Path, pid: u32) -> anyhow::Result<()> {
    let (first, ..) = record(tracer, pid, FIRST, "auto")?;
    let bytes: u64 = first.about.counters.iter().flat_map(|counter| &counter.classes).map(|class| class.bytes).sum();
    let expected = bytes as f64 * DURATION.as_secs_f64() / FIRST.as_secs_f64();
    let interval = ((expected / SAMPLES as f64) as u64).max(1).to_string();

    let (mut runs, mut order, mut samples, mut stacks, mut readers) = (Vec::new(), Vec::new(), vec![], vec![], vec![]);
    for _ in 0..RUNS {
        let (recording, said, _) = record(tracer, pid, DURATION, &interval)?;
        samples.push(recording.samples.len() as f64);
        stacks.push(recording.stacks.len() as f64);
        let (names, stages, reader) = stages(&said);
        ensure!(!stages.is_empty(), "tracer says nothing of its stages:\n{said}");
        (order, readers) = (names, [readers, vec![reader]].concat());
        runs.push(stages);
    }
    let stage = |name: &str, number: fn(&(f64, f64)) -> f64| {
        Spread::of(runs.iter().filter_map(|run: &Stages| run.get(name).map(number)))
    };
    let rows = order.iter().map(|name| {
        vec![format!("{name}"), stage(name, |cost| cost.0).digits(0), stage(name, |cost| cost.1).digits(0)]
    });
    let after = |run: &Stages| run.iter().filter(|(name, _)| !BEFORE.contains(&name.as_str())).map(|(_, c)| c.0).sum();
    let total = Spread::of(runs.iter().map(after));
    let most = Spread::of(runs.iter().map(|run| run.values().map(|cost| cost.1).fold(0.0, f64::max)));
    section.line(&format!(
        "{name}: {} samples, {} distinct stacks, {} runs.",
        Spread::of(samples).digits(0),
        Spread::of(stacks).digits(0),
        runs.len()
    ));
    let mut rows: Vec<_> = rows.collect();
    rows.push(vec!["**from the end to all files**".into(), total.digits(0), most.digits(0)]);
    rows.push(vec![
        "largest reader of symbols, a process of its own".into(),
        String::new(),
        Spread::of(readers).digits(0),
    ]);
    section.table(&["stage", "ms", "MiB"], &rows);
    let verdict = |met: bool| if met { "met" } else { "missed" };
    section.line(&format!(
        "Goals: files within {GOAL_MS:.0} ms: {}; {GOAL_MIB:.0} MiB: {}; discover within {GOAL_DISCOVER_MS:.0} ms: {}.",
        verdict(total.median < GOAL_MS),
        verdict(most.median < GOAL_MIB),
        verdict(stage("discover", |cost| cost.0).median < GOAL_DISCOVER_MS)
    ));
    Ok(())
}

/// A recording, what tracer said, and where its picture is.
fn record(tracer: &Path, pid: u32, duration: Duration, interval: &str) -> anyhow::Result<(Recording, String, PathBuf)> {
    let picture = folder()?.join("render.svg");
    let mut command = Command::new(tracer);
    command.args([
        "--pid",
        &pid.to_string(),
        "--duration",
        &format!("{}s", duration.as_secs()),
        "--interval",
        interval,
    ]);
    command.args(["--verbose", "--force", "-o"]).arg(&picture);
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // 3 is a recording that lacks something; the number of samples shows whether that matters.
    ensure!(matches!(output.status.code(), Some(0 | 3)), "{command:?} failed:\n{said}");
    let file = File::open(picture.with_extension("pb.gz"))?;
    let recording = pprof::read(BufReader::new(file), &pprof::Limits::default())?;
    Ok((recording, said, picture))
}

/// Reads the lines `stage NAME MS ms, MIB MiB at most`: names in order, costs, and MiB of the largest confined reader.
fn stages(said: &str) -> (Vec<String>, Stages, f64) {
    let (mut order, mut costs, mut readers) = (Vec::new(), Stages::new(), f64::NAN);
    for line in said.lines().filter_map(|line| line.strip_prefix("stage ")) {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            [name, ms, "ms,", mib, "MiB", "at", "most"] => {
                if let (Ok(ms), Ok(mib)) = (ms.parse(), mib.parse()) {
                    order.push((*name).to_owned());
                    costs.insert((*name).to_owned(), (ms, mib));
                }
            }
            ["(confined", "readers:", mib, ..] => readers = mib.parse().unwrap_or(f64::NAN),
            _ => {}
        }
    }
    (order, costs, readers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_read_as_tracer_writes_them() {
        let said = "stage     scan 1.5 ms, 20 MiB at most\nother\nstage     (confined readers: 70 MiB at most)\n";
        let (order, costs, readers) = stages(said);
        assert_eq!(order, ["scan"]);
        assert_eq!(costs["scan"], (1.5, 20.0));
        assert_eq!(readers, 70.0);
    }
}
