//! tracer itself.

use std::{path::Path, process::Command};

use super::{TRACER_ALWAYS, TRACER_LIVE, Tool};
use crate::{demo::build_tracer, exec};

/// With its default, without a budget, with a stack for every allocation, and following blocks.
///
/// # Errors
/// When it does not build.
pub fn tools(folder: &Path) -> anyhow::Result<Vec<Tool>> {
    let tracer = build_tracer()?;
    let output = folder.join("tool.pb.gz");
    let tool = |name, options: &[&str]| {
        let (tracer, output) = (tracer.clone(), output.clone());
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let command = move |watched: &super::Watched<'_>| {
            let mut command = Command::new(&tracer);
            command.args(["--pid", &watched.pid.to_string(), "--duration", "10m", "--quiet", "--force", "-o"]);
            command.arg(&output).args(&options);
            Ok(command)
        };
        Tool { name, command: Box::new(command) }
    };
    let has_budget = exec::capture(Command::new(&tracer).args(["record", "--help"]))?.contains("--max-overhead");
    let (budget, none): (_, &[&str]) =
        if has_budget { (Some(tool("tracer", &[])), &["--max-overhead", "none"]) } else { (None, &[]) };
    let mut tools: Vec<Tool> = budget.into_iter().collect();
    tools.extend([
        tool(TRACER_ALWAYS, none),
        tool("tracer, no budget, a stack for every allocation", &[none, &["--interval", "1"]].concat()),
        tool(TRACER_LIVE, &[none, &["--live"]].concat()),
    ]);
    Ok(tools)
}
