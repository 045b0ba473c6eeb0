//! Probe points of the functions that are to be probed.

use std::collections::{BTreeSet, HashMap};

use iced_x86::Register;
use tracer_ebpf::abi::allocation::{Delegates, SizeFrom};

use super::by_hand::{self, find::Found};
use super::candidates::Candidate;
use super::discovery::Options;
use super::exits::exits;
use super::plan::{Calls, End, ProbePoint, SkipReason, Skipped, Unseen};
use super::probe_point::{KernelUprobes, Placement, REACH, SIZE_REGISTERS, Site, Unplaceable, place};
use super::symbols::ModuleSymbols;
use super::table::{BlockAt, Function, Role};

/// A function that is to be probed.
pub(super) struct Entry<'a> {
    module: u16,
    address: u64,
    length: u64,
    /// The one to show first.
    names: &'a [String],
    family: &'static str,
    function: &'a Function,
}

impl<'a> Entry<'a> {
    /// A function of the table.
    pub fn of(candidate: &'a Candidate) -> Self {
        let &Candidate { module, address, length, family, function, .. } = candidate;
        Self { module, address, length, names: &candidate.names, family: family.name, function }
    }

    /// One that the user names.
    pub fn named(found: &'a Found, function: &'a Function) -> Self {
        let by_hand::find::Entry { module, name, address, length } = &found.entry;
        let names = std::slice::from_ref(name);
        Self { module: *module, address: *address, length: *length, names, family: by_hand::FAMILY, function }
    }

    /// Whether it is the function of a probe.
    pub fn is_at(&self, probe: &ProbePoint) -> bool {
        (probe.module, probe.elf_address) == (self.module, self.address)
    }

    /// Says that it is left out.
    pub fn skipped(&self, reason: SkipReason) -> Skipped {
        let function = self.names.first().cloned().unwrap_or_default();
        Skipped { function, module: self.module, family: self.family, reason }
    }
}

/// Places breakpoints.
pub(super) struct Placer<'a> {
    modules: &'a [ModuleSymbols<'a>],
    kernel: KernelUprobes,
    /// Whether it must be seen where calls end.
    releases: bool,
    /// Module and address of all functions that may be probed.
    entries: Vec<(u16, u64)>,
    /// By module.
    far_targets: HashMap<u16, BTreeSet<u64>>,
}

impl<'a> Placer<'a> {
    pub fn new(modules: &'a [ModuleSymbols<'a>], candidates: &[Candidate], options: Options<'_>) -> Self {
        let of_table = candidates.iter().map(|candidate| (candidate.module, candidate.address));
        let by_hand = options.by_hand.iter().map(|found| (found.entry.module, found.entry.address));
        let entries = of_table.chain(by_hand).collect();
        Self { modules, kernel: options.kernel, releases: options.releases, entries, far_targets: HashMap::new() }
    }

    /// Places the breakpoint of a function.
    pub fn place(&mut self, entry: &Entry<'_>, delegates: Delegates, calls: Calls) -> Result<ProbePoint, SkipReason> {
        let &Entry { module, address, length, names, family, function } = entry;
        let Self { modules, kernel, releases, entries, far_targets } = self;
        let symbols = modules.get(usize::from(module)).ok_or(SkipReason::NotCode)?;
        let code = &symbols.code;
        let far_targets = far_targets.entry(module).or_insert_with(|| {
            let of_module = entries.iter().filter(|(other, _)| *other == module);
            code.far_branch_targets(of_module.map(|(_, address)| address + 1).collect(), REACH)
        });
        let (size, arguments) = registers(function, delegates);
        let end = if *releases { end(function, symbols, address) } else { End::Unwatched };
        let site =
            Site { entry: address, length, size, arguments: &arguments, returns: end == End::Return, far_targets };
        let placement = place(code, site, *kernel).map_err(|unplaceable| match unplaceable {
            Unplaceable::NotCode => SkipReason::NotCode,
            Unplaceable::Refused => SkipReason::Refused,
        })?;
        let instruction = address + u64::from(placement.offset);
        Ok(ProbePoint {
            module,
            function: names.first().cloned().unwrap_or_default(),
            aliases: names.iter().skip(1).cloned().collect(),
            family,
            role: function.role,
            file_offset: code.file_offset(instruction).ok_or(SkipReason::NotCode)?,
            elf_address: address,
            size: size_at(&placement, function),
            placement,
            delegates,
            block: function.block,
            gives_back: function.gives_back,
            end,
            calls,
        })
    }
}

/// How to see that a call of a function ends.
fn end(function: &Function, module: &ModuleSymbols<'_>, address: u64) -> End {
    if function.role == Role::Release {
        End::Unwatched
    } else if function.size == Some(SizeFrom::GoArgument0) {
        End::Unseen(Unseen::Collected)
    } else if function.role == Role::Resize && function.block == BlockAt::StoredAtArgument0 {
        End::Unseen(Unseen::Indirect)
    } else if function.throws {
        let exits = exits(module, address);
        let offsets = exits.and_then(|exits| exits.into_iter().map(|exit| module.code.file_offset(exit)).collect());
        offsets.map_or(End::Unseen(Unseen::Throws), End::Exits)
    } else {
        End::Return
    }
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
        Delegates::WithoutMapAnonymous => Some(RCX),
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
