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

use std::collections::{BTreeMap, HashMap, HashSet};

use iced_x86::Register;
use tracer_ebpf::abi::allocation::{Delegates, MAX_FUNCTIONS, SizeFrom};

use super::delegation::{Evidence, Failure, Landmarks, Question, evidence};
use super::families;
use super::plan::{Calls, NoAllocator, Plan, ProbePoint, Remark, SkipReason, Skipped};
use super::probe_point::{KernelUprobes, REACH, Site, Unplaceable, place};
use super::register_state::Registers;
use super::symbols::ModuleSymbols;
use super::table::{BlockAt, Family, Function, HandsOn, Layer, Role, Row};

/// What to look for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The layer to count.
    pub layer: Layer,
    /// Whether functions that release are wanted too.
    pub releases: bool,
    /// What the kernel at hand can do.
    pub kernel: KernelUprobes,
}

/// Chooses the functions to probe among those of a process's modules, given in link order: the program first.
///
/// # Errors
/// When no module has a function to probe.
pub fn discover(modules: &[ModuleSymbols<'_>], options: Options) -> Result<Plan, NoAllocator> {
    let mut discovery = Discovery { modules, options, candidates: Vec::new(), skipped: Vec::new() };
    for (index, module) in (0..=u16::MAX).zip(modules) {
        discovery.collect(index, module);
    }
    discovery.skip_wrappers();
    let decisions = discovery.decide();
    discovery.plan(decisions)
}

/// A function of the table in a module.
struct Candidate {
    module: u16,
    address: u64,
    size: u64,
    names: Vec<String>,
    family: &'static Family,
    function: &'static Function,
}

impl Candidate {
    fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    fn is_release(&self) -> bool {
        self.function.role == Role::Release
    }
}

/// What becomes of a candidate.
enum Decision {
    Probe(Delegates, Calls),
    Skip(SkipReason),
}

struct Discovery<'a, 'data> {
    modules: &'a [ModuleSymbols<'data>],
    options: Options,
    candidates: Vec<Candidate>,
    skipped: Vec<Skipped>,
}

impl Discovery<'_, '_> {
    fn skip(&mut self, module: u16, name: &str, family: &Family, reason: SkipReason) {
        self.skipped.push(Skipped { function: name.to_owned(), module, family: family.name, reason });
    }

    /// Finds a module's candidates, one for each address.
    fn collect(&mut self, index: u16, module: &ModuleSymbols<'_>) {
        let claiming = claiming_family(module);
        let mut by_address: BTreeMap<u64, Vec<(Row, &str, u64)>> = BTreeMap::new();
        for symbol in &module.functions {
            let belongs = |row: &&Row| !row.family().claims || std::ptr::eq(row.family(), claiming);
            let Some(row) = symbol.rows.iter().find(belongs) else { continue };
            let Some(function) = row.function() else { continue };
            if function.role == Role::Release && !self.options.releases {
                continue;
            }
            let reason = if row.family().layer != self.options.layer {
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
            self.skip(index, &symbol.name, row.family(), reason);
        }
        for (address, mut symbols) in by_address {
            // The name that comes first in the table is the one to show; an old version's comes last.
            symbols.sort_by_key(|(row, name, _)| (name.contains('@'), *row));
            let Some((row, function)) = symbols.first().and_then(|(row, ..)| Some((*row, row.function()?))) else {
                continue;
            };
            let size = symbols.iter().map(|(_, _, size)| *size).max().unwrap_or(0);
            let names = symbols.iter().map(|(_, name, _)| (*name).to_owned()).collect();
            self.candidates.push(Candidate { module: index, address, size, names, family: row.family(), function });
        }
    }

    /// Leaves out the functions of libraries that stand before an allocator and call it.
    fn skip_wrappers(&mut self) {
        let is_malloc = |candidate: &&Candidate| candidate.family.claims && candidate.name() == "malloc";
        let owner = self.candidates.iter().filter(is_malloc).find(|candidate| !self.may_wrap(candidate));
        let Some(owner) = owner.map(|candidate| self.modules[usize::from(candidate.module)].path.clone()) else {
            return;
        };
        let (wrappers, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.candidates).into_iter().partition(|candidate| self.may_wrap(candidate));
        self.candidates = rest;
        for wrapper in wrappers {
            self.skip(wrapper.module, wrapper.name(), wrapper.family, SkipReason::Wrapper { of: owner.clone() });
        }
    }

    fn may_wrap(&self, candidate: &Candidate) -> bool {
        let module = &self.modules[usize::from(candidate.module)];
        std::ptr::eq(candidate.family, families::OTHER) && module.asks_for_next && !module.is_program
    }

    /// What branches can lead to in a module, for functions that allocate or for those that release.
    fn landmarks(&self, index: u16, module: &ModuleSymbols<'_>, releases: bool) -> Landmarks {
        let mut landmarks = Landmarks::default();
        let named: HashSet<&str> = self.of_kind(releases).flat_map(|c| c.names.iter().map(String::as_str)).collect();
        for candidate in self.of_kind(releases).filter(|candidate| candidate.module == index) {
            landmarks.entries.insert(candidate.address, candidate.name().to_owned());
        }
        for (slot, name) in &module.imports {
            if named.contains(name.as_str()) {
                landmarks.slots.insert(*slot, name.clone());
            } else if ModuleSymbols::never_returns(name) {
                landmarks.no_return.insert(*slot);
            }
        }
        // Those of them that hold a landmark are recognised by the address.
        landmarks.local_slots.clone_from(&module.local_slots);
        landmarks
    }

    fn of_kind(&self, releases: bool) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(move |candidate| candidate.is_release() == releases)
    }

    /// Decides on every candidate.
    fn decide(&self) -> Vec<Decision> {
        let mut landmarks: HashMap<(u16, bool), Landmarks> = HashMap::new();
        let mut decisions: Vec<Decision> = Vec::new();
        for candidate in &self.candidates {
            let module = &self.modules[usize::from(candidate.module)];
            let landmarks = landmarks
                .entry((candidate.module, candidate.is_release()))
                .or_insert_with(|| self.landmarks(candidate.module, module, candidate.is_release()));
            decisions.push(self.decide_one(candidate, module, landmarks));
        }
        self.break_cycles(&mut decisions);
        decisions
    }

    fn decide_one(&self, candidate: &Candidate, module: &ModuleSymbols<'_>, landmarks: &Landmarks) -> Decision {
        let failure = match candidate.function.block {
            BlockAt::StoredAtArgument0 => Failure::Number,
            BlockAt::Returned | BlockAt::Nowhere => Failure::Null,
        };
        let look =
            |arguments| evidence(&module.code, landmarks, Question { entry: candidate.address, arguments, failure });
        let unless_seen = |calls| Decision::Probe(Delegates::Never, calls);
        match candidate.function.hands_on {
            HandsOn::Never => unless_seen(Calls::None),
            HandsOn::When(condition) => match look(meeting(condition)) {
                Evidence::NoPath => unless_seen(Calls::NoneSeen),
                Evidence::SomePath(to) | Evidence::EveryPath(to) => Decision::Probe(condition, Calls::HandsOn(to)),
            },
            HandsOn::WhenPresent(condition) => {
                let other = self.of_kind(candidate.is_release()).find(|other| {
                    other.module == candidate.module
                        && std::ptr::eq(other.family, candidate.family)
                        && !std::ptr::eq(other.function, candidate.function)
                });
                match other {
                    Some(other) => Decision::Probe(condition, Calls::HandsOn(other.name().to_owned())),
                    None => unless_seen(Calls::NoneSeen),
                }
            }
            HandsOn::AnyPath => match look(Registers::default()) {
                Evidence::NoPath => unless_seen(Calls::NoneSeen),
                Evidence::SomePath(to) => Decision::Skip(SkipReason::HandsOn { to, all: false }),
                Evidence::EveryPath(to) => Decision::Skip(SkipReason::HandsOn { to, all: true }),
            },
            HandsOn::EveryPath => match look(Registers::default()) {
                Evidence::NoPath => unless_seen(Calls::NoneSeen),
                Evidence::SomePath(to) => unless_seen(Calls::Sometimes(to)),
                Evidence::EveryPath(to) => Decision::Skip(SkipReason::HandsOn { to, all: true }),
            },
        }
    }

    /// Where functions hand on to each other in a circle, keeps one of them: otherwise nothing would be counted.
    fn break_cycles(&self, decisions: &mut [Decision]) {
        for start in 0..decisions.len() {
            let mut current = start;
            // A chain longer than there are functions is a circle.
            for _ in 0..=decisions.len() {
                let Decision::Skip(SkipReason::HandsOn { to, .. }) = &decisions[current] else { break };
                let Some(next) = self.find(to, self.candidates[current].module) else { break };
                if next == start {
                    decisions[start] = Decision::Probe(Delegates::Never, Calls::Sometimes(to.clone()));
                    break;
                }
                current = next;
            }
        }
    }

    /// The candidate that a name stands for in a module: its own, or else the first in link order.
    fn find(&self, name: &str, module: u16) -> Option<usize> {
        let matches = |candidate: &Candidate| candidate.names.iter().any(|own| own == name);
        let own = self.candidates.iter().position(|candidate| candidate.module == module && matches(candidate));
        own.or_else(|| self.candidates.iter().position(matches))
    }

    fn plan(mut self, decisions: Vec<Decision>) -> Result<Plan, NoAllocator> {
        let mut probes = Vec::new();
        let mut far_targets = HashMap::new();
        let candidates = std::mem::take(&mut self.candidates);
        for (candidate, decision) in candidates.iter().zip(decisions) {
            let module = &self.modules[usize::from(candidate.module)];
            let (delegates, calls) = match decision {
                Decision::Probe(..) if probes.len() >= MAX_FUNCTIONS as usize => {
                    self.skip(candidate.module, candidate.name(), candidate.family, SkipReason::NoCounterLeft);
                    continue;
                }
                Decision::Probe(delegates, calls) => (delegates, calls),
                Decision::Skip(reason) => {
                    self.skip(candidate.module, candidate.name(), candidate.family, reason);
                    continue;
                }
            };
            let far_targets = far_targets.entry(candidate.module).or_insert_with(|| {
                let entries = candidates.iter().filter(|other| other.module == candidate.module);
                module
                    .code
                    .far_branch_targets(entries.map(|other| other.address + 1..other.address + 1 + REACH).collect())
            });
            let arguments = arguments(candidate.function, delegates);
            let site = Site { entry: candidate.address, size: candidate.size, arguments: &arguments, far_targets };
            let placement = match place(&module.code, site, self.options.kernel) {
                Ok(placement) => placement,
                Err(unplaceable) => {
                    let reason = match unplaceable {
                        Unplaceable::NotCode => SkipReason::NotCode,
                        Unplaceable::Refused => SkipReason::Refused,
                    };
                    self.skip(candidate.module, candidate.name(), candidate.family, reason);
                    continue;
                }
            };
            let Some(file_offset) = module.code.file_offset(candidate.address + u64::from(placement.offset)) else {
                self.skip(candidate.module, candidate.name(), candidate.family, SkipReason::NotCode);
                continue;
            };
            probes.push(ProbePoint {
                module: candidate.module,
                function: candidate.name().to_owned(),
                aliases: candidate.names.iter().skip(1).cloned().collect(),
                family: candidate.family.name,
                role: candidate.function.role,
                file_offset,
                elf_address: candidate.address,
                placement,
                size: candidate.function.size,
                delegates,
                block: candidate.function.block,
                gives_back: candidate.function.gives_back,
                calls,
            });
        }
        let remarks = self.remarks(&candidates);
        self.finish(probes, remarks)
    }

    fn remarks(&self, candidates: &[Candidate]) -> Vec<Remark> {
        let defining: Vec<u16> = candidates
            .iter()
            .filter(|candidate| candidate.family.claims && candidate.name() == "malloc")
            .map(|candidate| candidate.module)
            .collect();
        let interposed = match defining.as_slice() {
            [first, behind @ ..] if !behind.is_empty() => {
                Some(Remark::Interposed { first: *first, behind: behind.to_vec() })
            }
            _ => None,
        };
        let truncated = (0..).zip(self.modules).filter(|(_, module)| module.truncated);
        interposed.into_iter().chain(truncated.map(|(index, _)| Remark::Truncated(index))).collect()
    }

    fn finish(self, probes: Vec<ProbePoint>, remarks: Vec<Remark>) -> Result<Plan, NoAllocator> {
        if !probes.iter().any(|probe| probe.role != Role::Release) {
            let stripped = self.modules.iter().filter(|module| module.stripped).map(|module| module.path.clone());
            return Err(NoAllocator {
                modules: self.modules.len(),
                stripped: stripped.collect(),
                skipped: self.skipped,
                looked_for: looked_for(self.options.layer),
            });
        }
        let modules = self.modules.iter().map(|module| module.path.clone()).collect();
        Ok(Plan { modules, probes, skipped: self.skipped, remarks })
    }
}

/// The family whose build of the C library's names a module has.
fn claiming_family(module: &ModuleSymbols<'_>) -> &'static Family {
    let marked = |family: &&&Family| family.markers.iter().any(|marker| module.markers.contains(marker));
    families::ALL.iter().filter(|family| family.claims).find(marked).map_or(families::OTHER, |family| *family)
}

/// Arguments that meet a condition, as constants: the value at its edge.
fn meeting(condition: Delegates) -> Registers {
    match condition {
        Delegates::Never => Registers::default(),
        Delegates::NullArgument0 => Registers::with(Register::RDI, 0),
        Delegates::SmallArgument0 => Registers::with(Register::RDI, 16),
        Delegates::SmallArgument1 => Registers::with(Register::RSI, 16),
        Delegates::SmallGoArgument0 => Registers::with(Register::RAX, 512),
    }
}

/// The registers that a probe of this function reads.
fn arguments(function: &Function, delegates: Delegates) -> Vec<Register> {
    use Register::{RAX, RCX, RDI, RDX, RSI};
    let mut registers = match function.size {
        None => vec![],
        Some(SizeFrom::Argument0) => vec![RDI],
        Some(SizeFrom::Argument1) => vec![RSI],
        Some(SizeFrom::Argument2) => vec![RDX],
        Some(SizeFrom::Argument3) => vec![RCX],
        Some(SizeFrom::Product01) => vec![RDI, RSI],
        Some(SizeFrom::Product12) => vec![RSI, RDX],
        Some(SizeFrom::GoArgument0) => vec![RAX],
    };
    registers.extend(match delegates {
        Delegates::Never => None,
        Delegates::NullArgument0 | Delegates::SmallArgument0 => Some(RDI),
        Delegates::SmallArgument1 => Some(RSI),
        Delegates::SmallGoArgument0 => Some(RAX),
    });
    registers.extend(function.gives_back.and_then(|argument| [RDI, RSI].get(usize::from(argument)).copied()));
    if function.block == BlockAt::StoredAtArgument0 {
        registers.push(RDI);
    }
    registers
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
