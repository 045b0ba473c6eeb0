//! A machine in software that boots a kernel, runs one script and ends.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::demo::background::die_with_parent;

const EMULATOR: &str = "qemu-system-x86_64";
/// After this a machine hangs: on two slow processors that others use too it takes three minutes.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
const POLL: Duration = Duration::from_millis(200);

/// Boots `kernel` with `initramfs`; what was written to the console, which is kept at `console`.
///
/// # Errors
/// When the emulator is missing or fails, or the machine does not end.
pub fn run(kernel: &Path, initramfs: &Path, console: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(EMULATOR);
    command
        // Everywhere the same, and where there is no virtualization within virtualization.
        .args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024"])
        .args(["-no-reboot", "-display", "none", "-monitor", "none", "-nic", "none"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        // A panic ends it.
        .args(["-append", "console=ttyS0 quiet panic=-1"])
        .stdin(Stdio::null());
    die_with_parent(&mut command);
    let mut machine = command
        .spawn()
        .with_context(|| format!("cannot run {EMULATOR}; install what it needs: cargo xtask setup --kernels"))?;
    let start = Instant::now();
    let status = loop {
        match machine.try_wait().context("cannot wait for the machine")? {
            Some(status) => break Some(status),
            None if start.elapsed() > PATIENCE => break None,
            None => thread::sleep(POLL),
        }
    };
    if status.is_none() {
        // Fails only where it has just ended.
        machine.kill().ok();
        machine.wait().ok();
    }
    let written = fs::read(console).with_context(|| format!("cannot read {}", console.display()))?;
    let written = String::from_utf8_lossy(&written).into_owned();
    match status {
        Some(status) if status.success() => Ok(written),
        Some(status) => bail!("{command:?} failed: {status}"),
        None => bail!("the machine did not end; see {}", console.display()),
    }
}
