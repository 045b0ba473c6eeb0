//! Which functions of a process to probe, so that each allocation is counted exactly once.
//!
//! 1. Every module's symbols are matched against the table. In a module one family claims the C library's names, told by
//!    its markers; symbols at one address are one function.
//! 2. Functions that cannot or must not be probed are left out: resolvers, the loader's own, wrappers of another
//!    allocator, other layers.
//! 3. Of the rest, those that hand all their calls on to another one are left out in favour of that one, and those that
//!    hand some on get the condition into their cookie. The table says what to expect, the machine code whether it is so
//!    in this build.
//! 4. Each gets the place for its breakpoint.
//!
//! Where several modules define `malloc` (a preloaded allocator before the C library's), all are probed: calls by name
//! reach the first, calls inside a library its own, and none of the known allocators calls the one behind it.

use std::collections::{BTreeSet, HashMap, HashSet};

use iced_x86::Register;
use tracer_ebpf::abi::allocation::{Delegates, MAX_FUNCTIONS, SizeFrom};

use super::candidates::{Candidate, collect};
use super::decision::{Decision, decide};
use super::exits::exits;
use super::families;
use super::plan::{Calls, End, NoAllocator, Plan, ProbePoint, Remark, SkipReason, Unseen};
use super::probe_point::{KernelUprobes, Placement, REACH, SIZE_REGISTERS, Site, Unplaceable, place};
use super::symbols::ModuleSymbols;
use super::table::{BlockAt, Function, Layer, Role};

/// What to look for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The layer to count.
    pub layer: Layer,
    /// Whether blocks are followed: functions that release are wanted too, and it must be seen where a call ends.
    pub releases: bool,
    /// What the kernel at hand can do.
    pub kernel: KernelUprobes,
}

/// Chooses the functions to probe among those of a process's modules, given in link order: the program first.
///
/// # Errors
/// When no module has a function to probe.
pub fn discover(modules: &[ModuleSymbols<'_>], options: Options) -> Result<Plan, NoAllocator> {
    let mut skipped = Vec::new();
    let candidates = collect(modules, options, &mut skipped);
    let (mut probes, mut counted) = (Vec::new(), 0);
    let mut far_targets = HashMap::new();
    for (candidate, decision) in candidates.iter().zip(decide(modules, &candidates)) {
        let module = &modules[usize::from(candidate.module)];
        let probe = match decision {
            Decision::Skip(reason) => Err(reason),
            Decision::Probe(..) if !candidate.is_release() && counted == MAX_FUNCTIONS => {
                Err(SkipReason::NoCounterLeft)
            }
            Decision::Probe(delegates, calls) => {
                let far_targets = far_targets.entry(candidate.module).or_insert_with(|| {
                    let of_module = candidates.iter().filter(|other| other.module == candidate.module);
                    module.code.far_branch_targets(of_module.map(|other| other.address + 1).collect(), REACH)
                });
                probe_point(candidate, module, far_targets, options, delegates, calls)
            }
        };
        match probe {
            Ok(probe) => {
                counted += u32::from(probe.size.is_some());
                probes.push(probe);
            }
            Err(reason) => skipped.push(candidate.skipped(reason)),
        }
    }
    if !probes.iter().any(|probe| probe.role != Role::Release) {
        let stripped = modules.iter().filter(|module| module.stripped).map(|module| module.path.clone()).collect();
        let looked_for = looked_for(options.layer);
        return Err(NoAllocator { modules: modules.len(), stripped, skipped, looked_for });
    }
    let paths = modules.iter().map(|module| module.path.clone()).collect();
    Ok(Plan { modules: paths, probes, skipped, remarks: remarks(modules, &candidates) })
}

/// Places the breakpoint of a function that is to be probed.
fn probe_point(
    candidate: &Candidate,
    module: &ModuleSymbols<'_>,
    far_targets: &BTreeSet<u64>,
    options: Options,
    delegates: Delegates,
    calls: Calls,
) -> Result<ProbePoint, SkipReason> {
    let (size, arguments) = registers(candidate.function, delegates);
    let (entry, length) = (candidate.address, candidate.length);
    let end = if options.releases { end(candidate, module) } else { End::Unwatched };
    let site = Site { entry, length, size, arguments: &arguments, returns: end == End::Return, far_targets };
    let placement = place(&module.code, site, options.kernel).map_err(|unplaceable| match unplaceable {
        Unplaceable::NotCode => SkipReason::NotCode,
        Unplaceable::Refused => SkipReason::Refused,
    })?;
    let instruction = candidate.address + u64::from(placement.offset);
    Ok(ProbePoint {
        module: candidate.module,
        function: candidate.name().to_owned(),
        aliases: candidate.names.iter().skip(1).cloned().collect(),
        family: candidate.family.name,
        role: candidate.function.role,
        file_offset: module.code.file_offset(instruction).ok_or(SkipReason::NotCode)?,
        elf_address: candidate.address,
        size: size_at(&placement, candidate.function),
        placement,
        delegates,
        block: candidate.function.block,
        gives_back: candidate.function.gives_back,
        end,
        calls,
    })
}

/// How to see that a call of a function ends.
fn end(candidate: &Candidate, module: &ModuleSymbols<'_>) -> End {
    let Function { role, block, throws, .. } = *candidate.function;
    let is_release = |function: &Function| function.role == Role::Release;
    if role == Role::Release {
        End::Unwatched
    } else if !candidate.family.functions.iter().copied().flatten().any(is_release) {
        End::Unseen(Unseen::Collected)
    } else if role == Role::Resize && block == BlockAt::StoredAtArgument0 {
        End::Unseen(Unseen::Indirect)
    } else if throws {
        let offsets = exits(module, candidate.address)
            .and_then(|exits| exits.into_iter().map(|exit| module.code.file_offset(exit)).collect());
        offsets.map_or(End::Unseen(Unseen::Throws), End::Exits)
    } else {
        End::Return
    }
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
    interposed.into_iter().chain(truncated.map(|(index, _)| Remark::Truncated(index))).collect()
}

/// The registers that a probe reads: that of the size, when it is one alone, and the others.
fn registers(function: &Function, delegates: Delegates) -> (Option<Register>, Vec<Register>) {
    use Register::{RAX, RCX, RDI, RDX, RSI};
    let (size, mut others) = match function.size {
        None => (None, vec![]),
        Some(SizeFrom::Argument0) => (Some(RDI), vec![]),
        Some(SizeFrom::Argument1) => (Some(RSI), vec![]),
        Some(SizeFrom::Argument2) => (Some(RDX), vec![]),
        Some(SizeFrom::Argument3) => (Some(RCX), vec![]),
        Some(SizeFrom::Product01) => (None, vec![RDI, RSI]),
        Some(SizeFrom::Product12) => (None, vec![RSI, RDX]),
        Some(SizeFrom::GoArgument0) => (None, vec![RAX]),
    };
    others.extend(match delegates {
        Delegates::Never => None,
        Delegates::NullArgument0 | Delegates::SmallArgument0 => Some(RDI),
        Delegates::SmallArgument1 => Some(RSI),
        Delegates::SmallGoArgument0 => Some(RAX),
    });
    others.extend(function.gives_back.and_then(|argument| SIZE_REGISTERS.get(usize::from(argument)).copied()));
    if function.block == BlockAt::StoredAtArgument0 {
        others.push(RDI);
    }
    (size, others)
}

/// Where the size is at the probed instruction.
fn size_at(placement: &Placement, function: &Function) -> Option<SizeFrom> {
    const FROM: [SizeFrom; 4] = [SizeFrom::Argument0, SizeFrom::Argument1, SizeFrom::Argument2, SizeFrom::Argument3];
    let moved = placement.size_moved_to.and_then(|to| SIZE_REGISTERS.iter().position(|register| *register == to));
    moved.map(|index| FROM[index]).or(function.size)
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
