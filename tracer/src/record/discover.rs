//! Which functions of a process to probe: brings its mapped files to [`crate::allocators`].

use crate::{
    allocators::{self, ModuleSymbols, NoAllocator, Plan, ProbePoint},
    target::{MappingKind, Modules, Scan},
};

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
    pub plan: Plan,
    /// Its probes, by counter slot.
    pub probed: Vec<Probed>,
}

/// Chooses the functions to probe in the modules of a scan.
///
/// # Errors
/// [`NoAllocator`] when nothing in the process is known to allocate.
pub fn discover(modules: &Modules, scan: &Scan) -> Result<Found, NoAllocator> {
    let numbers = in_link_order(modules, scan);
    let readers: Vec<_> = numbers
        .iter()
        .filter_map(|&number| {
            // The vdso allocates nothing, and its lack of symbols would only confuse.
            let module = modules.get(number).filter(|module| module.kind == MappingKind::File)?;
            Some((number, module.path.as_str(), module.elf().ok()?))
        })
        .collect();
    let (numbers, symbols): (Vec<u16>, Vec<ModuleSymbols<'_>>) = readers
        .iter()
        .filter_map(|(number, path, reader)| {
            let file = object::File::parse(reader).ok()?;
            Some((*number, ModuleSymbols::read(path, &file).ok()?))
        })
        .unzip();
    let plan = allocators::discover(&symbols, allocators::Options::default())?;
    let probed = plan
        .probes
        .iter()
        .filter(|point| point.size.is_some())
        .filter_map(|point| Some(Probed { module: *numbers.get(usize::from(point.module))?, point: point.clone() }))
        .collect();
    Ok(Found { plan, probed })
}

/// The program first, then libraries as the loader met them, the loader last. The kernel places each new mapping below the
/// last one, so that the order of loading is that of falling addresses (mm/mmap.c, top-down layout).
fn in_link_order(modules: &Modules, scan: &Scan) -> Vec<u16> {
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
