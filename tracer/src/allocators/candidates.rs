//! Functions of the table in the modules of a process, before it is decided which of them to probe.

use std::collections::BTreeMap;

use tracer_ebpf::abi::allocation::MAX_FUNCTIONS;

use super::discovery::Options;
use super::families;
use super::plan::{SkipReason, Skipped};
use super::symbols::ModuleSymbols;
use super::table::{Family, Function, Role, Row};

/// Functions whose machine code is looked at, at most: far more than a process has that is not out to keep tracer busy.
const MAX_CANDIDATES: usize = 4 * MAX_FUNCTIONS as usize;

/// A function of the table in a module.
pub(super) struct Candidate {
    /// Index of the module.
    pub module: u16,
    /// ELF virtual address of the entry.
    pub address: u64,
    /// Length in bytes; 0 for unknown.
    pub length: u64,
    /// Its names, the one to show first.
    pub names: Vec<String>,
    pub family: &'static Family,
    pub function: &'static Function,
}

impl Candidate {
    /// The name to show.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Its name and length.
    pub fn extent(&self) -> (&str, u64) {
        (self.name(), self.length)
    }

    pub fn is_release(&self) -> bool {
        self.function.role == Role::Release
    }

    /// Whether it is some module's own `malloc`, not one under another name.
    pub fn is_malloc(&self) -> bool {
        self.family.claims && self.name() == "malloc"
    }

    /// Says that it is left out.
    pub fn skipped(&self, reason: SkipReason) -> Skipped {
        Skipped { function: self.name().to_owned(), module: self.module, family: self.family.name, reason }
    }
}

/// Finds the candidates of all modules; what is left out at once goes to `skipped`.
pub(super) fn collect(
    modules: &[ModuleSymbols<'_>],
    options: Options<'_>,
    skipped: &mut Vec<Skipped>,
) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (index, module) in (0..=u16::MAX).zip(modules) {
        for candidate in of_module(index, module, options, skipped) {
            if candidates.len() < MAX_CANDIDATES {
                candidates.push(candidate);
            } else {
                skipped.push(candidate.skipped(SkipReason::NoCounterLeft));
            }
        }
    }
    without_wrappers(modules, candidates, skipped)
}

/// Those of one module, one for each address.
fn of_module(
    index: u16,
    module: &ModuleSymbols<'_>,
    options: Options<'_>,
    skipped: &mut Vec<Skipped>,
) -> Vec<Candidate> {
    let claiming = claiming_family(module);
    let mut by_address: BTreeMap<u64, Vec<(Row, &str, u64)>> = BTreeMap::new();
    for symbol in &module.functions {
        let belongs = |row: &&Row| !row.family().claims || std::ptr::eq(row.family(), claiming);
        let Some(row) = symbol.rows.iter().find(belongs) else { continue };
        if !options.releases && row.function().is_none_or(|function| function.role == Role::Release) {
            continue;
        }
        let reason = if row.family().layer != options.layer {
            SkipReason::OtherLayer(row.family().layer)
        } else if module.is_loader {
            SkipReason::Loader
        } else if symbol.indirect {
            SkipReason::IndirectFunction
        } else if module.code.instruction(symbol.address).is_none() {
            SkipReason::NotCode
        } else {
            by_address.entry(symbol.address).or_default().push((*row, &symbol.name, symbol.size));
            continue;
        };
        skipped.push(Skipped { function: symbol.name.clone(), module: index, family: row.family().name, reason });
    }
    let mut candidates = Vec::new();
    for (address, mut symbols) in by_address {
        // The name that comes first in the table is the one to show; an old version's comes last.
        symbols.sort_by_key(|(row, name, _)| (name.contains('@'), *row));
        let row = symbols.first().map(|(row, ..)| *row);
        let Some((row, function)) = row.and_then(|row| Some((row, row.function()?))) else { continue };
        let length = symbols.iter().map(|(_, _, size)| *size).max().unwrap_or(0);
        let names = symbols.iter().map(|(_, name, _)| (*name).to_owned()).collect();
        candidates.push(Candidate { module: index, address, length, names, family: row.family(), function });
    }
    candidates
}

/// The family whose build of the C library's names a module has.
fn claiming_family(module: &ModuleSymbols<'_>) -> &'static Family {
    let marked = |family: &&&Family| family.markers.iter().any(|marker| module.markers.contains(marker));
    families::ALL.iter().filter(|family| family.claims).find(marked).map_or(families::OTHER, |family| *family)
}

/// Leaves out the functions of libraries that stand before an allocator and call it.
fn without_wrappers(
    modules: &[ModuleSymbols<'_>],
    candidates: Vec<Candidate>,
    skipped: &mut Vec<Skipped>,
) -> Vec<Candidate> {
    let may_wrap = |candidate: &Candidate| {
        let module = &modules[usize::from(candidate.module)];
        std::ptr::eq(candidate.family, families::OTHER) && module.asks_for_next && !module.is_program
    };
    let owner = candidates.iter().find(|candidate| candidate.is_malloc() && !may_wrap(candidate));
    let Some(owner) = owner.map(|candidate| modules[usize::from(candidate.module)].path.clone()) else {
        return candidates;
    };
    let (wrappers, rest): (Vec<_>, Vec<_>) = candidates.into_iter().partition(may_wrap);
    skipped.extend(wrappers.iter().map(|wrapper| wrapper.skipped(SkipReason::Wrapper { of: owner.clone() })));
    rest
}
