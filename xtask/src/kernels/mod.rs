//! `cargo xtask kernels`: tracer on kernels of other ages, in a machine in software. The kernels are those of Debian's releases.

mod initramfs;
mod machine;
mod packages;
mod report;

use std::{path::Path, process::ExitCode, time::Instant};

use anyhow::Context as _;

use self::report::Expected;
use crate::workspace;

/// Tries tracer on older and newer kernels, in an emulator: refusals, exact counts, --live, CPU time.
#[derive(clap::Args)]
pub struct Options {
    /// Only the kernels of these releases of Debian.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(KERNELS.iter().map(|kernel| kernel.release)))]
    releases: Vec<String>,
}

/// A kernel to try.
struct Kernel {
    /// The release of Debian that it is in.
    release: &'static str,
    /// What is to be seen.
    expected: Expected,
}

/// Oldest first.
const KERNELS: &[Kernel] = &[
    // 5.10: no bpf_loop.
    Kernel { release: "bullseye", expected: Expected::Refusal },
    // 6.1: no multi links.
    Kernel { release: "bookworm", expected: Expected::NoLive },
    // 6.12: no session links.
    Kernel { release: "trixie", expected: Expected::All },
    // The newest that there is.
    Kernel { release: "trixie-backports", expected: Expected::All },
];

/// Tries them and says how it went; all of them, whichever fail.
///
/// # Errors
/// When the machine's file system cannot be made.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let chosen = |kernel: &&Kernel| options.releases.is_empty() || options.releases.iter().any(|r| r == kernel.release);
    let initramfs = initramfs::pack()?;
    let (mut passed, mut failed) = (0, 0);
    for kernel in KERNELS.iter().filter(chosen) {
        let start = Instant::now();
        let result = try_kernel(kernel, &initramfs);
        let seconds = start.elapsed().as_secs();
        match result {
            Ok(name) => {
                passed += 1;
                eprintln!("{:<17} {seconds:>5} s  passed: {name}", kernel.release);
            }
            Err(error) => {
                failed += 1;
                eprintln!("{:<17} {seconds:>5} s  FAILED: {error:#}", kernel.release);
            }
        }
    }
    eprintln!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was tried, for people: the kernel's release, and what was expected.
fn try_kernel(kernel: &Kernel, initramfs: &Path) -> anyhow::Result<String> {
    let image = packages::image(kernel.release)?;
    let console = workspace::target_dir()?.join("kernels").join(kernel.release).join("console.log");
    let written = machine::run(&image, initramfs, &console)?;
    report::check(&written, kernel.expected).with_context(|| format!("see {}", console.display()))?;
    let release = written.lines().find_map(|line| line.trim_end().split_once(" on Linux ")).map(|(_, release)| release);
    Ok(format!("Linux {}, {:?}", release.unwrap_or("?"), kernel.expected))
}
