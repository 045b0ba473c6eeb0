//! tracer itself.

use std::{path::Path, process::Command};

use super::{TRACER_ALWAYS, Tool};
use crate::{demo::build_tracer, exec};

/// With its default, without a budget, and with a stack for every allocation.
///
/// # Errors
/// When it does not build.
pub fn tools(folder: &Path) -> anyhow::Result<Vec<Tool>> {
    let tracer = build_tracer()?;
    let output = folder.join("tool.folded");
    let tool = |name, options: &'static [&str]| {
        let (tracer, output) = (tracer.clone(), output.clone());
        let command = move |watched: &super::Watched<'_>| {
            let mut command = Command::new(&tracer);
            command.args(["--pid", &watched.pid.to_string(), "--duration", "10m", "--quiet", "--force", "-o"]);
            command.arg(&output).args(options);
            Ok(command)
        };
        Tool { name, command: Box::new(command) }
    };
    if exec::capture(Command::new(&tracer).args(["record", "--help"]))?.contains("--max-overhead") {
        return Ok(vec![
            tool("tracer", &[]),
            tool(TRACER_ALWAYS, &["--max-overhead", "none"]),
            tool("tracer, no budget, a stack for every allocation", &["--max-overhead", "none", "--interval", "1"]),
        ]);
    }
    Ok(vec![tool(TRACER_ALWAYS, &[]), tool("tracer, no budget, a stack for every allocation", &["--interval", "1"])])
}
