//! The demo as a test: a short recording of the reference server has the frames that are known to allocate in it, and
//! whole stacks.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, bail};

use super::{
    Options, Recorded,
    frames::{bytes_in, false_roots, is_drawn},
    record,
};
use crate::{exec, workspace};

/// Functions of the game server that allocate: on every tick of a game and on every shot, when statistics are taken, on
/// every message of a player, when a game begins, and when players connect.
const EXPECTED: [&str; 13] = [
    "play_game",
    "tick_runner",
    "update",
    "fire",
    "create_bullet",
    "DataWriter::write",
    "DataWriter::count",
    "DataWriter::flush",
    "on_message",
    "Logger::child",
    "on_connection",
    // The WebSocket set-up: the answer to the client, and the connection's own state.
    "ServerHandshake",
    "WebSocketStream",
];
/// Stacks that must lead to the thread's start.
const COMPLETE: f64 = 0.999;
const DURATION: Duration = Duration::from_secs(5);
const GAMES: u32 = 100;

/// Runs the demo in a short form, and looks for [`EXPECTED`] in the picture and in the folded stacks of the recording.
///
/// # Errors
/// When tracer or a game fails, when a function is missing or has no bytes, or when stacks are incomplete.
pub fn check() -> anyhow::Result<()> {
    let directory = workspace::target_dir()?.join("demo");
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let (picture, recording) = (directory.join("check.svg"), directory.join("check.pb.gz"));
    let Recorded { status, complete } = record(&Options { duration: DURATION, games: GAMES, out: picture.clone() })?;
    let Some(complete) = complete.filter(|_| status.success()) else { bail!("tracer ended with {status}") };

    let folded = directory.join("check.folded");
    let tracer = workspace::target_dir()?.join("release/tracer");
    exec::exec(Command::new(&tracer).arg("render").arg(&recording).arg("-o").arg(&folded).arg("--force"))?;
    let (stacks, svg) = (read(&folded)?, read(&picture)?);

    let mut wrong = Vec::new();
    for name in EXPECTED {
        let bytes = bytes_in(&stacks, name)?;
        eprintln!("{name}: {bytes} bytes");
        if bytes == 0 {
            wrong.push(format!("{name} has no bytes in {}", folded.display()));
        }
        if !is_drawn(&svg, name) {
            wrong.push(format!("{name} is not in {}", picture.display()));
        }
    }
    // Without samples it is no number.
    if complete.share().is_nan() || complete.share() < COMPLETE {
        wrong.push(format!("only {complete} of the stacks are complete"));
    }
    for root in false_roots(&stacks)? {
        wrong.push(format!("{root} begins a stack that is said to be complete in {}", folded.display()));
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
