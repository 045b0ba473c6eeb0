//! perf on a probe of its own.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::bail;

use super::{Tool, Watched};
use crate::{bench::suite::target::is_installed, exec};

const EVENT: &str = "probe_tracer_bench:malloc";

/// Counting, and a stack for every allocation.
///
/// # Errors
/// When it is not installed.
pub fn tools(folder: &Path) -> anyhow::Result<Vec<Tool>> {
    if !is_installed("perf") {
        bail!("not installed");
    }
    let data = folder.join("perf.data");
    let stat = |watched: &Watched<'_>| {
        make_event(watched.library)?;
        let mut command = Command::new("perf");
        command.args(["stat", "-e", EVENT, "-p", &watched.pid.to_string()]);
        Ok(command)
    };
    let record = move |watched: &Watched<'_>| {
        make_event(watched.library)?;
        let mut command = Command::new("perf");
        command.args(["record", "--call-graph", "fp", "-e", EVENT, "-p", &watched.pid.to_string(), "-o"]).arg(&data);
        Ok(command)
    };
    Ok(vec![
        Tool { name: "perf stat, a probe on malloc", command: Box::new(stat), only_loop: true },
        Tool { name: "perf record, a stack for every allocation", command: Box::new(record), only_loop: false },
    ])
}

/// Makes the event anew: it belongs to one file, and stays until it is deleted or the machine restarts.
fn make_event(library: &Path) -> anyhow::Result<()> {
    delete_event();
    let mut add = Command::new("perf");
    add.args(["probe", "--quiet", "-x"]).arg(library).args(["--add", &format!("{EVENT}=malloc")]);
    exec::capture(&mut add).map(drop)
}

/// It is not there where perf is not, or when nobody made it.
pub fn delete_event() {
    Command::new("perf").args(["probe", "--quiet", "--del", EVENT]).stderr(Stdio::null()).status().ok();
}
