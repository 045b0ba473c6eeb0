//! The demo as a test: a short recording of the reference server has the frames that are known to allocate in it.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, bail};

use super::{Options, record};
use crate::{exec, workspace};

/// Functions of the game server that allocate on every tick of a game, on every message of a player, and when players
/// connect (the WebSocket set-up: `on_connection` and tungstenite's `ServerHandshake`).
const EXPECTED: [&str; 6] = ["play_game", "tick_runner", "update", "on_message", "on_connection", "ServerHandshake"];
const DURATION: Duration = Duration::from_secs(5);
const GAMES: u32 = 100;

/// Runs the demo in a short form and looks for [`EXPECTED`] in the picture and in the folded stacks of the recording.
///
/// # Errors
/// When tracer fails, or when a function is missing or has no bytes.
pub fn check() -> anyhow::Result<()> {
    let directory = workspace::target_dir()?.join("demo");
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let (picture, recording) = (directory.join("check.svg"), directory.join("check.pb.gz"));
    let status = record(&Options { duration: DURATION, games: GAMES, out: picture.clone() })?;
    if !status.success() {
        bail!("tracer ended with {status}");
    }

    let folded = directory.join("check.folded");
    let tracer = workspace::target_dir()?.join("release/tracer");
    exec::exec(Command::new(tracer).arg("render").arg(&recording).arg("-o").arg(&folded).arg("--force"))?;

    let mut missing = Vec::new();
    let (stacks, svg) = (read(&folded)?, read(&picture)?);
    for name in EXPECTED {
        let bytes = bytes_in(&stacks, name)?;
        eprintln!("{name}: {bytes} bytes");
        if bytes == 0 {
            missing.push(format!("{name} has no bytes in {}", folded.display()));
        }
        if !svg.contains(name) {
            missing.push(format!("{name} is not in {}", picture.display()));
        }
    }
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Bytes of the folded stacks (`frame;frame bytes`) that have a frame of the function `name`.
fn bytes_in(folded: &str, name: &str) -> anyhow::Result<u64> {
    let mut sum = 0;
    for line in folded.lines() {
        let (stack, bytes) = line.rsplit_once(' ').with_context(|| format!("no folded stack: {line:?}"))?;
        let bytes: u64 = bytes.parse().with_context(|| format!("no number of bytes: {line:?}"))?;
        if stack.split(';').any(|frame| is_function(frame, name)) {
            sum += bytes;
        }
    }
    Ok(sum)
}

/// Whether a frame such as `game::play_game::{{closure}}` is of the function `name`: one of its path segments,
/// without generic arguments.
fn is_function(frame: &str, name: &str) -> bool {
    frame.split("::").any(|segment| segment.split(['<', '(', ' ', '+']).next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDED: &str = "main;game::play_game::{{closure}};alloc::vec::Vec<T>::push 96\n\
                          main;game::play_game::{{closure}};Game::update 4\nmain;log::updates 7\n";

    #[test]
    fn bytes_of_a_function_are_those_below_it() {
        assert_eq!(bytes_in(FOLDED, "play_game").unwrap(), 100);
        assert_eq!(bytes_in(FOLDED, "update").unwrap(), 4);
        assert_eq!(bytes_in(FOLDED, "tick_runner").unwrap(), 0);
    }

    #[test]
    fn what_is_no_folded_stack_is_an_error() {
        assert!(bytes_in("main;f many", "f").unwrap_err().to_string().contains("many"));
    }
}
