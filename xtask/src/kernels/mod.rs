//! `cargo xtask kernels`: tracer on kernels of other ages, in a machine in software. The kernels are those of Debian's releases.

mod checks;
mod initramfs;
mod machine;
mod packages;
mod report;
mod table;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context as _, bail};

use self::{
    checks::Expected,
    machine::End,
    report::Report,
    table::{Row, table},
};
use crate::workspace;

/// Lines of a console that are shown of a machine that did not boot.
const LAST_LINES: usize = 15;
/// An emulated machine on a busy host may fail to boot where its neighbour does not.
const TRIES: u32 = 2;

/// Tries tracer on older and newer kernels, in an emulator: refusals, exact counts, windows, --live, CPU time, SIGKILL. The table goes
/// to standard output.
#[derive(clap::Args)]
pub struct Options {
    /// Only the kernels of these releases of Debian.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(KERNELS.iter().map(|kernel| kernel.release)))]
    releases: Vec<String>,
    /// Processors of the machine.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    processors: u8,
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
    let (mut rows, mut failed) = (Vec::new(), 0);
    for kernel in KERNELS.iter().filter(chosen) {
        let start = Instant::now();
        let (row, faults) = try_kernel(kernel, &initramfs, options.processors)
            .unwrap_or_else(|error| (Row { release: kernel.release, linux: None, verdicts: Vec::new() }, vec![error]));
        let (linux, seconds) = (row.linux.as_deref().unwrap_or("no kernel"), start.elapsed().as_secs());
        let outcome = if faults.is_empty() { "passed" } else { "FAILED" };
        eprintln!("{:<17} {seconds:>5} s  {outcome}: {linux}, {:?}", kernel.release, kernel.expected);
        for fault in &faults {
            eprintln!("    {}", format!("{fault:#}").trim_end().replace('\n', "\n    "));
        }
        failed += usize::from(!faults.is_empty());
        rows.push(row);
    }
    io::stdout().write_all(table(&rows).as_bytes()).context("cannot write the table")?;
    eprintln!("{} passed, {failed} failed", rows.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How it went, and what is not as it should be.
fn try_kernel(kernel: &Kernel, initramfs: &Path, processors: u8) -> anyhow::Result<(Row, Vec<anyhow::Error>)> {
    let image = packages::image(kernel.release)?;
    let console = workspace::target_dir()?.join("kernels").join(kernel.release).join("console.log");
    let (written, end) = boot(&image, initramfs, &console, processors)?;
    let linux =
        written.lines().find_map(|line| line.trim_end().split_once(" on Linux ")).map(|(_, name)| name.to_owned());
    let (verdicts, mut faults) = (checks::check(&Report::parse(&written), kernel.expected), Vec::new());
    let verdicts = verdicts.into_iter().map(|verdict| verdict.map_err(|fault| faults.push(fault)).ok()).collect();
    if !faults.is_empty() {
        let (end, last) = (describe(&end), last_lines(&written));
        faults.push(anyhow::anyhow!("{end}; the console is at {}, its last lines:\n{last}", console.display()));
    }
    Ok((Row { release: kernel.release, linux, verdicts }, faults))
}

/// What was written to the console of a machine that came as far as the script, and how that ended.
fn boot(image: &Path, initramfs: &Path, console: &Path, processors: u8) -> anyhow::Result<(String, End)> {
    let mut attempt = 1;
    loop {
        let end = machine::run(image, initramfs, console, processors)?;
        let written = machine::read(console)?;
        if Report::parse(&written).has_begun() {
            return Ok((written, end));
        }
        let (end, last) = (describe(&end), last_lines(&written));
        if attempt == TRIES {
            bail!("{} does not boot: {end}; the console's last lines:\n{last}", image.display());
        }
        eprintln!("{} does not boot: {end}; trying again. The console's last lines:\n{last}", image.display());
        attempt += 1;
    }
}

fn describe(end: &End) -> String {
    match end {
        End::Off => "the machine was switched off".to_owned(),
        End::Failed(reason) => format!("the emulator failed: {reason}"),
        End::Hung(patience) => format!("the machine hung, and was ended after {} s", patience.as_secs()),
    }
}

/// The end of a console, without what moves a terminal's cursor.
fn last_lines(console: &str) -> String {
    let lines: Vec<_> = console.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
    last.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}
