//! `tracer doctor`: what would work, and what would be missing.

use std::io::{self, Write as _};

use anyhow::Context as _;

use super::{Outcome, functions::Functions, number, privileges};
use crate::{
    doctor::{KernelFacts, Report, inspect, text},
    target::Process,
};

/// Arguments of `tracer doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look at this process too: its allocators, and what its stacks and names would lack
    #[arg(short, long, value_name = "PID", value_parser = number::process_id)]
    pid: Option<u32>,
    #[command(flatten)]
    functions: Functions,
    /// Write JSON, whose form is stable, instead of text
    #[arg(long)]
    json: bool,
}

/// Looks and writes to stdout. Works without root, and says what could not be looked at.
///
/// # Errors
/// When the process cannot be read.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let wanted = args.functions.wanted()?;
    let process = args.pid.map(Process::open).transpose()?;
    let inspect = |process| inspect(process, &wanted);
    let facts = process.as_ref().map(inspect).transpose().context("cannot read the process; run tracer with sudo")?;
    let report = Report::new(KernelFacts::collect(&privileges::missing_here()), facts);
    let mut out = io::stdout().lock();
    let written = if args.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        text::write(&report, &mut out)
    };
    match written {
        // A reader that has gone has what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ if report.is_usable() => Ok(Outcome::Done),
        _ => Ok(Outcome::Unusable),
    }
}
