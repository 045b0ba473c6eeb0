//! Which functions of a process to probe, so that each allocation is counted exactly once.
//!
//! 1. Every module's symbols are matched against the table. In a module one family claims the C library's names, told by
//!    its markers; symbols at one address are one function.
//! 2. Functions that cannot or must not be probed are left out: resolvers, the loader's own, wrappers of another
//!    allocator, other layers.
//! 3. Of the rest, those that hand all their calls on to another one are left out in favour of that one, and those that
//!    hand some on get the condition into their cookie. The table says what to expect, the machine code whether it is so
//!    in this build.
//! 4. Functions that the user names are probed beside them, whatever they hand on.
//! 5. Each gets the place for its breakpoint.
//!
//! Where several modules define `malloc` (a preloaded allocator before the C library's), all are probed: calls by name
//! reach the first, calls inside a library its own, and none of the known allocators calls the one behind it.

use std::collections::HashSet;

use tracer_ebpf::abi::allocation::{Delegates, MAX_FUNCTIONS};

use super::by_hand::{self, find::Found};
use super::candidates::{Candidate, collect};
use super::decision::{Decision, decide};
use super::families;
use super::placer::{Entry, Placer};
use super::plan::{Calls, NoAllocator, Plan, ProbePoint, Remark, SkipReason};
use super::probe_point::KernelUprobes;
use super::symbols::ModuleSymbols;
use super::table::{Layer, Role};

/// What to look for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// The layer to count.
    pub layer: Layer,
    /// Functions to probe whatever the table says.
    pub by_hand: &'a [Found],
    /// Whether blocks are followed: functions that release are wanted too, and it must be seen where a call ends.
    pub releases: bool,
    /// What the kernel at hand can do.
    pub kernel: KernelUprobes,
}

/// Chooses the functions to probe among those of a process's modules, given in link order: the program first.
///
/// # Errors
/// When no module has a function to probe.
pub fn discover(modules: &[ModuleSymbols<'_>], options: Options<'_>) -> Result<Plan, NoAllocator> {
    let mut skipped = Vec::new();
    let candidates = collect(modules, options, &mut skipped);
    let mut probes: Vec<ProbePoint> = Vec::new();
    let mut placer = Placer::new(modules, &candidates, options);
    let counters = MAX_FUNCTIONS as usize - options.by_hand.len().min(by_hand::MAX_NAMED);
    for (candidate, decision) in candidates.iter().zip(decide(modules, &candidates)) {
        let probe = match decision {
            Decision::Skip(reason) => Err(reason),
            Decision::Probe(..) if !candidate.is_release() && counted(&probes) >= counters => {
                Err(SkipReason::NoCounterLeft)
            }
            Decision::Probe(delegates, calls) => placer.place(&Entry::of(candidate), delegates, calls),
        };
        match probe {
            Ok(probe) => probes.push(probe),
            Err(reason) => skipped.push(candidate.skipped(reason)),
        }
    }
    for found in options.by_hand {
        let function = found.form.function();
        let entry = Entry::named(found, &function);
        let probe = match probes.iter().any(|probe| entry.is_at(probe)) {
            true => Err(SkipReason::ProbedAnyway),
            false if counted(&probes) >= MAX_FUNCTIONS as usize => Err(SkipReason::NoCounterLeft),
            false => placer.place(&entry, Delegates::Never, Calls::None),
        };
        match probe {
            Ok(probe) => probes.push(probe),
            Err(reason) => skipped.push(entry.skipped(reason)),
        }
    }
    if !probes.iter().any(|probe| probe.role != Role::Release) {
        let stripped = modules.iter().filter(|module| module.stripped).map(|module| module.path.clone()).collect();
        let looked_for = looked_for(options.layer);
        let program = modules.first().map_or("FILE", |program| by_hand::find::file_name(&program.path)).to_owned();
        return Err(NoAllocator { program, modules: modules.len(), stripped, skipped, looked_for });
    }
    let paths = modules.iter().map(|module| module.path.clone()).collect();
    Ok(Plan { modules: paths, probes, skipped, remarks: remarks(modules, &candidates) })
}

/// Those that need a counter.
fn counted(probes: &[ProbePoint]) -> usize {
    probes.iter().filter(|probe| probe.role != Role::Release).count()
}

fn remarks(modules: &[ModuleSymbols<'_>], candidates: &[Candidate]) -> Vec<Remark> {
    let defining: Vec<u16> =
        candidates.iter().filter(|candidate| candidate.is_malloc()).map(|candidate| candidate.module).collect();
    let interposed = match defining.as_slice() {
        [first, behind @ ..] if !behind.is_empty() => {
            Some(Remark::Interposed { first: *first, behind: behind.to_vec() })
        }
        _ => None,
    };
    let truncated = (0..=u16::MAX).zip(modules).filter(|(_, module)| module.truncated);
    let truncated = truncated.map(|(index, _)| Remark::Truncated(index));
    let by_module = candidates.chunk_by(|a, b| a.module == b.module);
    let is_inlined = |of_module: &&[Candidate]| families::python_is_inlined(of_module.iter().map(Candidate::extent));
    let inlined = by_module.filter(is_inlined).filter_map(<[_]>::first).map(|first| Remark::Inlined(first.module));
    interposed.into_iter().chain(truncated).chain(inlined).collect()
}

fn looked_for(layer: Layer) -> String {
    let mut seen = HashSet::new();
    let names: Vec<_> = families::ALL
        .iter()
        .filter(|family| family.layer == layer && !std::ptr::eq(**family, families::OTHER) && seen.insert(family.name))
        .map(|family| family.name)
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
