//! Which functions of a process to probe: brings its mapped files to [`crate::allocators`].

use std::{fs::File, sync::Arc};

use super::search::search;
use crate::{
    allocators::{Layer, NamedFunction, NoAllocator, Plan, ProbePoint, by_hand::find::Missed},
    target::{MappingKind, Module, Modules, Scan, elf::BuildId},
};

/// What is to be counted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The layer of the table.
    pub layer: Layer,
    /// Functions that the user names.
    pub named: Vec<NamedFunction>,
    /// Whether blocks are followed: functions that release are wanted too.
    pub releases: bool,
}

/// A probed function and the number of its module.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// Module number, see [`Modules`].
    pub module: u16,
    /// The function.
    pub point: ProbePoint,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The choice and its reasons.
    pub plan: Result<Plan, NoAllocator>,
    /// Its probes.
    pub probed: Vec<Probed>,
    /// Functions named by hand that cannot be probed.
    pub missed: Vec<Missed>,
    /// Those that can: indices of what the user said.
    pub named: Vec<usize>,
}

impl Found {
    /// The probes, if there is any and nothing is wrong with what the user named. Functions that are not there may come later.
    ///
    /// # Errors
    /// See [`DiscoverError`].
    pub fn usable(self) -> Result<Vec<Probed>, DiscoverError> {
        let Self { plan, probed, missed, .. } = self;
        let fatal = |missed: &Missed| plan.is_err() || !missed.reason.may_come();
        match missed.into_iter().find(fatal) {
            Some(missed) => Err(missed.into()),
            None => Ok(plan.map(|_| probed)?),
        }
    }
}

/// Why nothing can be probed.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// There is nothing to probe.
    #[error(transparent)]
    NoAllocator(#[from] NoAllocator),
    /// A function that the user names cannot be probed.
    #[error(transparent)]
    ByHand(#[from] Missed),
}

/// A module's file, to be read without the [`Modules`].
#[derive(Debug)]
pub struct Input {
    /// Module number.
    pub module: u16,
    pub(super) path: String,
    pub(super) file: Arc<File>,
    pub(super) build_id: Option<BuildId>,
}

/// Chooses the functions to probe in the modules of a scan of a process.
pub fn discover(modules: &Modules, process: u32, scan: &Scan, wanted: &Wanted) -> Found {
    search(&inputs(modules, &in_link_order(modules, scan)), process, wanted)
}

/// The files of modules. The vdso is left out: it allocates nothing, and its lack of symbols would only confuse.
pub fn inputs(modules: &Modules, numbers: &[u16]) -> Vec<Input> {
    let of_file = |&number: &u16| modules.get(number).filter(|module| module.kind == MappingKind::File);
    let input = |module: &Module| {
        let (number, path, build_id) = (module.number, module.path.clone(), module.build_id().cloned());
        Some(Input { module: number, path, file: module.file()?, build_id })
    };
    numbers.iter().filter_map(of_file).filter_map(input).collect()
}

/// The program first, then libraries as the loader met them, the loader last. The kernel places each new mapping below the
/// last one, so that the order of loading is that of falling addresses (mm/mmap.c, top-down layout).
pub fn in_link_order(modules: &Modules, scan: &Scan) -> Vec<u16> {
    let mut order: Vec<(bool, std::cmp::Reverse<u64>, u16)> = Vec::new();
    let program = scan.mappings.iter().find(|mapping| mapping.module != 0).map(|mapping| mapping.module);
    for mapping in &scan.mappings {
        if mapping.module == 0 || Some(mapping.module) == program || order.iter().any(|&(_, _, n)| n == mapping.module)
        {
            continue;
        }
        let last = modules.get(mapping.module).is_some_and(|module| module.is_interpreter);
        order.push((last, std::cmp::Reverse(mapping.start), mapping.module));
    }
    order.sort_unstable();
    program.into_iter().chain(order.into_iter().map(|(_, _, number)| number)).collect()
}
