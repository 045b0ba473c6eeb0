//! tracer itself.

use std::{path::Path, process::Command};

use super::{TRACER, TRACER_ALWAYS, TRACER_LIVE, Tool};
use crate::demo::build_tracer;

/// With its default, without a budget, with a stack for every allocation, and following blocks.
///
/// # Errors
/// When it does not build.
pub fn tools(folder: &Path) -> anyhow::Result<Vec<Tool>> {
    let tracer = build_tracer()?;
    let output = folder.join("tool.pb.gz");
    let tool = |name, only_loop, options: &[&str]| {
        let (tracer, output) = (tracer.clone(), output.clone());
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let command = move |watched: &super::Watched<'_>| {
            let mut command = Command::new(&tracer);
            command.args(["--pid", &watched.pid.to_string(), "--duration", "10m", "--quiet", "--force", "-o"]);
            command.arg(&output).args(&options);
            Ok(command)
        };
        Tool { name, command: Box::new(command), only_loop }
    };
    let none = ["--max-overhead", "none"].as_slice();
    Ok(vec![
        tool(TRACER, false, &[]),
        tool(TRACER_ALWAYS, false, none),
        tool("tracer, no budget, a stack for every allocation", true, &[none, &["--interval", "1"]].concat()),
        tool(TRACER_LIVE, false, &[none, &["--live"]].concat()),
    ])
}
