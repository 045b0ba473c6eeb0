//! `cargo xtask demo`: the reference server under load, and tracer on it. Nothing is left running.

pub mod background;
pub mod check;
pub mod completeness;
mod frames;
pub mod loaded_server;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use signal_hook::{consts::SIGINT, flag};

use self::{
    completeness::Completeness,
    loaded_server::{Load, LoadedServer},
};
use crate::{exec, workspace};

/// Exit code of tracer for a recording that was written, and lacks something that its summary names.
const INCOMPLETE: i32 = 3;

/// Records the reference game server under load: builds both, and writes a flame graph of what the server allocates.
#[derive(clap::Args)]
pub struct Options {
    /// How long to record.
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Games at a time, two connections each.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    games: u32,
    /// The picture, an SVG; the recording is written beside it.
    #[arg(long, default_value = "alloc.svg", value_parser = picture)]
    out: PathBuf,
}

fn picture(path: &str) -> Result<PathBuf, &'static str> {
    Some(PathBuf::from(path))
        .filter(|path| path.extension().is_some_and(|ending| ending == "svg"))
        .ok_or("no .svg file")
}

/// Runs it; the exit code is tracer's.
///
/// # Errors
/// When something does not build or start, a game fails, or Ctrl-C comes before the recording.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Recorded { status, .. } = record(options)?;
    // No code: a signal ended it.
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// How tracer ended, and what it found of stacks where it wrote a recording.
struct Recorded {
    status: ExitStatus,
    complete: Option<Completeness>,
}

fn record(options: &Options) -> anyhow::Result<Recorded> {
    let tracer = build_tracer()?;
    let logs = workspace::target_dir()?.join("demo");
    let load = Load::together(options.games);
    let server = LoadedServer::start(load, &logs)?;
    // Behind the start, which may have had to build the server first.
    let begun = Instant::now();
    eprintln!("server {} plays {} games over {} connections", server.pid(), load.games, load.connections());

    wait_for_turnover(begun, options.duration);
    let status = run_tracer(&tracer, server.pid(), options)?;
    let totals = server.stop()?;
    eprintln!("load client:\n  {}", totals.trim_end().replace('\n', "\n  "));
    eprintln!("logs: {}", logs.display());
    if !matches!(status.code(), Some(0 | INCOMPLETE)) {
        return Ok(Recorded { status, complete: None });
    }
    let recording = options.out.with_extension("pb.gz");
    let complete = Completeness::of_recording(&tracer, &recording, &logs.join("demo.json"))?;
    eprintln!("stacks from the allocation to the start of the thread: {complete}");
    eprintln!("picture: {}", options.out.display());
    Ok(Recorded { status, complete: Some(complete) })
}

/// What a game lasts: the fast player has won by then.
pub const GAME: Duration = Duration::from_millis(27_400);

/// Waits until the games that were started at `begun` will end in the middle of the recording: their players leave and
/// others come, so that the set-up of connections is in the picture too.
fn wait_for_turnover(begun: Instant, duration: Duration) {
    let wait = (begun + GAME).saturating_duration_since(Instant::now() + duration / 2);
    if !wait.is_zero() {
        eprintln!(
            "the first games end in {} s; recording begins in {} s",
            (wait + duration / 2).as_secs(),
            wait.as_secs()
        );
        std::thread::sleep(wait);
    }
}

/// Builds tracer in release; returns its path.
///
/// # Errors
/// When it does not build.
pub fn build_tracer() -> anyhow::Result<PathBuf> {
    exec::exec(workspace::cargo()?.args(["build", "--locked", "--release", "--package", "tracer"]))?;
    Ok(workspace::target_dir()?.join("release/tracer"))
}

/// Runs tracer in the foreground. A Ctrl-C ends the recording early: tracer has it from the terminal, and we go on to
/// stop the server.
fn run_tracer(tracer: &Path, pid: u32, options: &Options) -> anyhow::Result<ExitStatus> {
    let regions = workspace::root()?.join("target-server/regions.toml");
    let is_root = workspace::is_root();
    let mut command = command_line(tracer, pid, options, &regions, is_root);
    // sudo is not ours to kill; it ends with tracer, and that with the recording.
    if is_root {
        background::die_with_parent(&mut command);
    }

    let interrupted = Arc::new(AtomicBool::new(false));
    let handler = flag::register(SIGINT, Arc::clone(&interrupted)).context("cannot handle Ctrl-C")?;
    let status = command.status().with_context(|| format!("cannot run {command:?}"));
    signal_hook::low_level::unregister(handler);
    if interrupted.load(Ordering::Relaxed) {
        eprintln!("interrupted: the recording is shorter than {}", humantime::format_duration(options.duration));
    }
    let status = status?;
    if status.code().is_none() {
        bail!("{command:?} was ended: {status}");
    }
    Ok(status)
}

/// What is run to record a process: through sudo where we are not root, tracer and nothing else.
fn command_line(tracer: &Path, pid: u32, options: &Options, regions: &Path, is_root: bool) -> Command {
    let mut command = if is_root {
        Command::new(tracer)
    } else {
        let mut command = Command::new("sudo");
        command.arg(tracer);
        command
    };
    command.args(["--pid", &pid.to_string(), "--duration"]);
    command.arg(humantime::format_duration(options.duration).to_string().replace(' ', ""));
    // What is rare is to be seen too: the turnover of games lasts a few seconds. Nobody plays on this server.
    command.args(["--max-overhead", "none"]);
    command.arg("-o").arg(&options.out).arg("--force").arg("--regions").arg(regions);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(is_root: bool) -> Vec<String> {
        let options = Options { duration: Duration::from_millis(90_500), games: 1, out: "a.svg".into() };
        let command = command_line(Path::new("/t/tracer"), 7, &options, Path::new("/r.toml"), is_root);
        [command.get_program()]
            .into_iter()
            .chain(command.get_args())
            .map(|word| word.to_string_lossy().into())
            .collect()
    }

    #[test]
    fn only_the_tracing_goes_through_sudo() {
        let arguments = "--pid 7 --duration 1m30s500ms --max-overhead none -o a.svg --force --regions /r.toml";
        assert_eq!(words(true).join(" "), format!("/t/tracer {arguments}"));
        assert_eq!(words(false).join(" "), format!("sudo /t/tracer {arguments}"));
    }

    #[test]
    fn recording_lies_beside_a_picture() {
        assert_eq!(picture("a/b.svg").unwrap(), Path::new("a/b.svg"));
        assert!(picture("a/b.pb.gz").is_err());
    }
}
