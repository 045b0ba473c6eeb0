//! What follows from the facts: what stands in the way, and what a recording would lack.

use serde::Serialize;

use super::{
    kernel::{BPF_LOOP, Check, KernelFacts, Need, State},
    process::{Allocators, ModuleFacts, ProcessFacts, Symbols, Unwinding},
};

/// One conclusion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is the matter.
    pub text: String,
    /// What the user can do; empty where nothing is known.
    pub hint: String,
}

/// How bad a finding is; worse ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing can be recorded.
    Blocks,
    /// Recordings would lack something.
    Limits,
    /// It could not be looked at.
    Unknown,
}

/// Text without unwind information that is worth a word, as a share of a module's text.
const NOTABLE: f64 = 0.05;
/// What `--unwind-memory` is without being set.
const UNWIND_MEMORY: u64 = 64 << 20;
/// Modules that a finding names.
const NAMED: usize = 3;

/// Judges; worst first.
pub fn findings(kernel: &KernelFacts, process: Option<&ProcessFacts>) -> Vec<Finding> {
    let mut findings = of_kernel(kernel);
    if let Some(process) = process {
        findings.extend(of_process(process));
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn of_kernel(kernel: &KernelFacts) -> Vec<Finding> {
    let finding = |check: &Check| {
        let (severity, reason) = match (&check.state, check.need) {
            (State::Works, _) | (_, Need::Unused) => return None,
            (State::Missing(reason), Need::Required) => (Severity::Blocks, reason),
            (State::Missing(reason), Need::Better) => (Severity::Limits, reason),
            (State::Unknown(reason), _) => (Severity::Unknown, reason),
        };
        // Whatever is not known for lack of rights has one cure.
        let hint = if severity == Severity::Unknown { "run it with sudo" } else { check.hint };
        Some(Finding { severity, text: format!("{}: {reason}", check.about), hint: hint.to_owned() })
    };
    // What comes behind it needs it too: its failures are no news.
    let too_old = |check: &Check| check.id == BPF_LOOP && matches!(check.state, State::Missing(_));
    let known = kernel.checks.iter().position(too_old).map_or(&kernel.checks[..], |last| &kernel.checks[..=last]);
    known.iter().filter_map(finding).collect()
}

fn of_process(process: &ProcessFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |severity, text: String, hint: &str| {
        findings.push(Finding { severity, text, hint: hint.to_owned() });
    };
    if let Allocators::None { reason } = &process.allocators {
        find(Severity::Blocks, reason.clone(), "");
    }
    for missed in &process.missed {
        find(Severity::Blocks, missed.clone(), "");
    }
    // Nobody strips the vdso, and nobody can give it names.
    let files = || process.modules.iter().filter(|module| module.path != "[vdso]");
    let unreadable = files().filter_map(|module| match &module.symbols {
        Symbols::Unreadable(reason) => Some((module, reason)),
        _ => None,
    });
    for (module, reason) in unreadable {
        let text = format!("{}: {reason}; its frames stay without names", module.path);
        find(Severity::Limits, text, "restart the process to run the present file");
    }
    let stripped = names(files().filter(|module| matches!(module.symbols, Symbols::Exported | Symbols::None)));
    if let Some(names) = stripped {
        let text = format!("only exported functions have names in {names}");
        find(Severity::Limits, text, "install the debug symbols of these files, or build them without `strip`");
    }
    let gaps = names(files().filter(|module| match module.unwinding {
        Unwinding::Known { unsupported, nothing, .. } => unsupported + nothing > NOTABLE,
        Unwinding::Unknown { .. } => true,
    }));
    if let Some(names) = gaps {
        let text = format!("stacks may end in code without unwind information in {names}");
        find(Severity::Limits, text, "rebuild them with -fasynchronous-unwind-tables");
    }
    if let Some(code) = process.run_time_code.as_ref().filter(|code| !code.perf_map) {
        let text = format!("{} mappings of code made at run time", code.mappings);
        find(Severity::Limits, text, &code.hint);
    }
    if process.unwind_table_bytes > UNWIND_MEMORY {
        let mib = process.unwind_table_bytes.div_ceil(1 << 20);
        let text = format!("its unwind tables take {mib} MiB, more than tracer uses by default");
        find(Severity::Limits, text, &format!("--unwind-memory {}MiB", mib.saturating_add(8).min(256)));
    }
    findings
}

/// The first few of some modules; `None` where there are none.
fn names<'a>(modules: impl Iterator<Item = &'a ModuleFacts>) -> Option<String> {
    let names: Vec<&str> = modules.map(|module| module.path.rsplit('/').next().unwrap_or(&module.path)).collect();
    let (first, rest) = names.split_at(names.len().min(NAMED));
    match (first, rest.len()) {
        ([], _) => None,
        (first, 0) => Some(first.join(", ")),
        (first, more) => Some(format!("{} and {more} more", first.join(", "))),
    }
}
