//! A machine in software that boots a kernel, runs one script and ends.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::report::Report;
use crate::demo::background::die_with_parent;

const EMULATOR: &str = "qemu-system-x86_64";
/// After this a machine that has not come as far as the script hangs; half a minute is usual.
const BOOT_PATIENCE: Duration = Duration::from_secs(5 * 60);
/// After this a machine hangs: on two slow processors that others use too it takes some minutes.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
const POLL: Duration = Duration::from_millis(200);

/// How a machine came to its end.
#[derive(Debug)]
pub enum End {
    /// The kernel switched it off, or panicked.
    Off,
    /// The emulator failed, with what it said.
    Failed(String),
    /// It hung, and was ended after so long.
    Hung(Duration),
}

/// Boots `kernel` with `initramfs` on so many processors. What was written to the console is at `console` then.
///
/// # Errors
/// When the emulator is missing.
pub fn run(kernel: &Path, initramfs: &Path, console: &Path, processors: u8) -> anyhow::Result<End> {
    // An older one would be taken for what this machine has written.
    fs::write(console, "").with_context(|| format!("cannot write {}", console.display()))?;
    let log = console.with_extension("emulator");
    let errors = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(EMULATOR);
    command
        // Everywhere the same, and where there is no virtualization within virtualization. Without cmpxchg16b, which leaves wrong flags
        // behind in emulators before QEMU 8.0: a kernel that is interrupted just after it dies.
        .args(["-accel", "tcg", "-cpu", "max,-cx16", "-m", "1024", "-smp"])
        .arg(processors.to_string())
        .args(["-no-reboot", "-display", "none", "-monitor", "none", "-nic", "none"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        // A kernel that fails ends it at once, and tells however early that is. On a busy host the emulated timer comes too late
        // for the kernel's check of it.
        .args(["-append", "console=ttyS0 earlyprintk=ttyS0 oops=panic panic=-1 no_timer_check"])
        .stdin(Stdio::null())
        .stderr(errors);
    die_with_parent(&mut command);
    let mut machine = command
        .spawn()
        .with_context(|| format!("cannot run {EMULATOR}; install what it needs: cargo xtask setup --kernels"))?;
    let start = Instant::now();
    let mut has_begun = false;
    loop {
        if let Some(status) = machine.try_wait().context("cannot wait for the machine")? {
            let said = || fs::read_to_string(&log).unwrap_or_default();
            return Ok(if status.success() { End::Off } else { End::Failed(format!("{status}: {}", said().trim())) });
        }
        has_begun = has_begun || Report::parse(&read(console)?).has_begun();
        let patience = if has_begun { PATIENCE } else { BOOT_PATIENCE };
        if start.elapsed() > patience {
            // Fails only where it has just ended.
            machine.kill().ok();
            machine.wait().context("cannot wait for the machine")?;
            return Ok(End::Hung(patience));
        }
        thread::sleep(POLL);
    }
}

/// What was written to a console.
///
/// # Errors
/// When it cannot be read.
pub fn read(console: &Path) -> anyhow::Result<String> {
    let written = fs::read(console).with_context(|| format!("cannot read {}", console.display()))?;
    Ok(String::from_utf8_lossy(&written).into_owned())
}
