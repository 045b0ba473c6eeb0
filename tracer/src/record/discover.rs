//! Which functions of a process to probe: brings its mapped files to [`crate::allocators`].

use std::fs::File;

use crate::{
    allocators::{self, ModuleSymbols, NoAllocator, Plan, ProbePoint},
    target::{MappingKind, Module, Modules, Scan, elf},
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
    /// Its probes.
    pub probed: Vec<Probed>,
}

/// A module's file, to be read without the [`Modules`].
#[derive(Debug)]
pub struct Input {
    /// Module number.
    pub module: u16,
    path: String,
    file: File,
}

/// Chooses the functions to probe in the modules of a scan; `releases`: so that blocks can be followed.
///
/// # Errors
/// [`NoAllocator`] when nothing in the process is known to allocate.
pub fn discover(modules: &Modules, scan: &Scan, releases: bool) -> Result<Found, NoAllocator> {
    search(&inputs(modules, &in_link_order(modules, scan)), releases)
}

/// The files of modules. The vdso is left out: it allocates nothing, and its lack of symbols would only confuse.
pub fn inputs(modules: &Modules, numbers: &[u16]) -> Vec<Input> {
    let of_file = |&number: &u16| modules.get(number).filter(|module| module.kind == MappingKind::File);
    let input =
        |module: &Module| Some(Input { module: module.number, path: module.path.clone(), file: module.file()? });
    numbers.iter().filter_map(of_file).filter_map(input).collect()
}

/// Chooses the functions to probe in modules given in link order; `releases`: so that blocks can be followed.
///
/// # Errors
/// [`NoAllocator`] when nothing in them is known to allocate.
pub fn search(inputs: &[Input], releases: bool) -> Result<Found, NoAllocator> {
    let readers: Vec<_> = inputs.iter().map(|input| (input, elf::reader(&input.file))).collect();
    let (numbers, symbols): (Vec<u16>, Vec<ModuleSymbols<'_>>) = readers
        .iter()
        .filter_map(|(input, reader)| {
            let file = object::File::parse(reader).ok()?;
            Some((input.module, ModuleSymbols::read(&input.path, &file).ok()?))
        })
        .unzip();
    let plan = allocators::discover(&symbols, allocators::Options { releases, ..Default::default() })?;
    let probed = plan
        .probes
        .iter()
        .filter_map(|point| Some(Probed { module: *numbers.get(usize::from(point.module))?, point: point.clone() }))
        .collect();
    Ok(Found { plan, probed })
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
