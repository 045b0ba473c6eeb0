//! memleak of the BPF Compiler Collection. It is compiled when it starts, which takes kernel headers: those of the running
//! kernel, or any that are installed, of whose structures it uses next to nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use nix::sys::utsname::uname;

use super::{MEMLEAK, Tool, Watched};
use crate::exec;

/// Every allocation, and the one in a thousand of its own sampling.
///
/// # Errors
/// When it or the headers are not there.
pub fn tools(folder: &Path) -> anyhow::Result<Vec<Tool>> {
    let places = ["/usr/sbin/memleak-bpfcc", "/usr/share/bcc/tools/memleak"];
    let program = places.into_iter().find(|path| Path::new(path).exists()).context("not installed")?;
    let headers = headers(folder)?;
    let runner = folder.join("attach_uprobe.py");
    fs::write(&runner, include_str!("attach_uprobe.py"))?;
    let tool = |name, only_loop, options: &'static [&str]| {
        let (headers, runner) = (headers.clone(), runner.clone());
        let command = move |watched: &Watched<'_>| {
            // The system's own: bcc is installed for that one.
            let mut command = Command::new("/usr/bin/python3");
            command.arg(&runner).arg(program);
            if let Some(headers) = &headers {
                command.env("BCC_KERNEL_SOURCE", headers);
            }
            command.args(["-p", &watched.pid.to_string(), "-O"]).arg(watched.library).args(options).arg("3600");
            Ok(command)
        };
        Tool { name, command: Box::new(command), only_loop }
    };
    Ok(vec![tool(MEMLEAK, false, &[]), tool("bcc memleak, one in 1000", true, &["-s", "1000"])])
}

/// Headers other than those of the running kernel; `None` where these are there.
fn headers(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let release = uname().context("no name of the kernel")?.release().to_owned();
    if Path::new("/lib/modules").join(release).join("build").exists() {
        return Ok(None);
    }
    // Debian has them in two folders, bcc wants one.
    let entries = fs::read_dir("/usr/src").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut halves: Vec<PathBuf> = entries
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("linux-headers-")))
        .collect();
    halves.sort();
    let is_common = |path: &&PathBuf| path.to_string_lossy().ends_with("-common");
    let (common, own) = (halves.iter().find(is_common), halves.iter().find(|path| !is_common(path)));
    let (Some(common), Some(own)) = (common, own) else { bail!("no kernel headers") };
    let merged = folder.join("headers");
    if merged.exists() {
        fs::remove_dir_all(&merged)?;
    }
    fs::create_dir_all(&merged)?;
    for half in [common, own] {
        exec::exec(Command::new("cp").args(["-rsf"]).arg(half.join(".")).arg(&merged))?;
    }
    Ok(Some(merged))
}
