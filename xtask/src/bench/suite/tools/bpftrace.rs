//! One-liners of bpftrace.

use std::process::Command;

use anyhow::bail;

use super::{BPFTRACE_LEAKS, BPFTRACE_SUM, Tool, Watched};
use crate::bench::suite::target::is_installed;

/// Counting, bytes by stack, and what finds leaks.
///
/// # Errors
/// When it is not installed.
pub fn tools() -> anyhow::Result<Vec<Tool>> {
    if !is_installed("bpftrace") {
        bail!("not installed");
    }
    let tool = |name, only_loop, script: fn(&str) -> String| {
        let command = move |watched: &Watched<'_>| {
            let mut command = Command::new("bpftrace");
            command.args(["-p", &watched.pid.to_string(), "-e", &script(&watched.library.to_string_lossy())]);
            Ok(command)
        };
        Tool { name, command: Box::new(command), only_loop }
    };
    Ok(vec![
        tool("bpftrace, `@ = count()`", true, |library| format!("uprobe:{library}:malloc {{ @ = count(); }}")),
        tool(BPFTRACE_SUM, false, |library| format!("uprobe:{library}:malloc {{ @[ustack] = sum(arg0); }}")),
        tool(BPFTRACE_LEAKS, false, |library| {
            format!(
                "uprobe:{library}:malloc {{ @size[tid] = arg0; @stack[tid] = ustack; }} \
                 uretprobe:{library}:malloc /@size[tid]/ {{ @block[retval] = @size[tid]; @from[retval] = @stack[tid]; \
                 delete(@size[tid]); delete(@stack[tid]); }} \
                 uprobe:{library}:free /@block[arg0]/ {{ delete(@block[arg0]); delete(@from[arg0]); }}"
            )
        }),
    ])
}
