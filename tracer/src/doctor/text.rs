//! A report for people.

use std::io::{self, Write};

use super::{
    Report, Severity,
    kernel::State,
    process::{Allocators, ModuleFacts, ProcessFacts, Symbols, Unwinding},
};
use crate::output::quantity;

/// Writes a report.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "tracer {} on Linux {}", report.tracer, report.kernel.release)?;
    for check in &report.kernel.checks {
        let (mark, reason) = match &check.state {
            State::Works => ("yes", None),
            State::Missing(reason) => ("no", Some(reason)),
            State::Unknown(reason) => ("?", Some(reason)),
        };
        write!(out, "  {mark:<4}{}", check.about)?;
        match reason {
            Some(reason) => writeln!(out, ": {}", reason.lines().next().unwrap_or_default())?,
            None => writeln!(out)?,
        }
    }
    if let Some(process) = &report.process {
        writeln!(out)?;
        of_process(process, out)?;
    }
    writeln!(out)?;
    if report.findings.is_empty() {
        return writeln!(out, "Nothing is missing.");
    }
    for finding in &report.findings {
        let mark = match finding.severity {
            Severity::Blocks => "PROBLEM",
            Severity::Limits => "note",
            Severity::Unknown => "not known",
        };
        writeln!(out, "{mark}: {}", finding.text.lines().next().unwrap_or_default())?;
        if !finding.hint.is_empty() {
            writeln!(out, "    {}", finding.hint)?;
        }
    }
    Ok(())
}

fn of_process(process: &ProcessFacts, out: &mut dyn Write) -> io::Result<()> {
    let ProcessFacts { pid, name, executable, user, threads, .. } = process;
    writeln!(
        out,
        "process {pid} ({name}): {executable}, user {user}, threads: {}",
        quantity::count((*threads).into())
    )?;
    writeln!(out, "\nallocation functions")?;
    match &process.allocators {
        Allocators::Found { plan, .. } => plan.lines().try_for_each(|line| writeln!(out, "  {line}"))?,
        Allocators::None { reason } => writeln!(out, "  {reason}")?,
    }
    writeln!(out, "\nmodules: names of functions; how much of the code can be unwound")?;
    process.modules.iter().try_for_each(|module| of_module(module, out))?;
    if let Some(code) = &process.run_time_code {
        let named = if code.perf_map { "named by its perf map" } else { "without names" };
        writeln!(out, "  code made at run time ({} mappings): {named}; by frame pointer", code.mappings)?;
    }
    writeln!(out, "unwind tables: {} of kernel memory", quantity::bytes(process.unwind_table_bytes as f64))
}

fn of_module(module: &ModuleFacts, out: &mut dyn Write) -> io::Result<()> {
    let symbols = match &module.symbols {
        Symbols::All => "all functions",
        Symbols::Exported => "exported functions only",
        Symbols::None => "none",
        Symbols::Unreadable(reason) => reason,
    };
    let lines = if module.lines { ", source lines" } else { "" };
    let debug_file = match module.debug_file.as_str() {
        "" => String::new(),
        path => format!(" (from {path})"),
    };
    writeln!(out, "  {}: {symbols}{lines}{debug_file}; {}", module.path, unwinding(&module.unwinding))
}

fn unwinding(unwinding: &Unwinding) -> String {
    match unwinding {
        Unwinding::Known { table, frame_pointer, unsupported, nothing } => {
            let parts = [(*table, "by table"), (*frame_pointer, "by frame pointer"), (unsupported + nothing, "not")];
            let parts = parts.iter().filter(|(share, _)| *share > 0.0);
            parts.map(|(share, how)| format!("{} {how}", quantity::percent(*share))).collect::<Vec<_>>().join(", ")
        }
        Unwinding::Unknown { reason } => format!("not: {reason}"),
    }
}
