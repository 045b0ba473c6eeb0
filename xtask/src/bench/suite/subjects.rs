//! Programs that allocate from many stacks: node, and the game server.

use std::{fs, process::Command, thread, time::Duration};

use super::{
    report::Section,
    scale::Scale,
    target::{folder, is_installed},
};
use crate::demo::{
    background::Background,
    loaded_server::{Load, LoadedServer},
};

const GAMES: u32 = 500;

/// Starts one after the other, and has each measured: by name and process id. What was found.
///
/// # Errors
/// When one fails, or its measurement.
pub fn each<T>(
    section: &mut Section,
    scale: Scale,
    mut measure: impl FnMut(&mut Section, &'static str, u32) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<(&'static str, T)>> {
    let mut found = Vec::new();
    match node()? {
        Some(node) => found.push(("node", measure(section, "node", node.pid())?)),
        None => section.line("Not measured: node is not installed."),
    }
    let server = LoadedServer::start(Load::together(scale.count(GAMES)), &folder()?)?;
    found.push(("game server", measure(section, "game server", server.pid())?));
    server.stop()?;
    Ok(found)
}

/// Node at work; `None` where it is not installed.
fn node() -> anyhow::Result<Option<Background>> {
    if !is_installed("node") {
        return Ok(None);
    }
    let script = folder()?.join("workload.js");
    fs::write(&script, include_str!("workload.js"))?;
    let mut node = Background::start(Command::new("node").arg(&script), &folder()?.join("node.log"))?;
    thread::sleep(Duration::from_secs(1));
    node.expect_running()?;
    Ok(Some(node))
}
