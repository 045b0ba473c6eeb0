//! Addresses to names: functions, files and lines, for the distinct frames of a recording.
//!
//! Each module is named in one go by a confined reader ([`confine`]) that works on a clean copy of its symbols ([`image`]).
//! Code made at run time is named by the program's own perf map ([`perf_map`]). What has no name is called by module and
//! offset, and the reason is kept.

pub mod available;
pub mod confine;
pub mod debug_file;
pub mod demangle;
pub mod frames;
pub mod image;
pub mod kernel;
pub mod lookup;
pub mod perf_map;
pub mod sources;
pub mod symbols;
pub mod unresolved;

mod name_module;
mod result;

use std::collections::BTreeMap;

use rayon::ThreadPoolBuilder;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use tracer_ebpf::abi::sample::KERNEL_MODULE;

pub use frames::Frames;
pub use lookup::DebugInfo;
pub use result::{ModuleReport, RunTimeCodeReport, Symbolized};
pub use sources::{HeldSources, NameSources};
pub use unresolved::{Failure, Unresolved};

use self::confine::Limits;
use self::lookup::Wanted;
use self::perf_map::{PerfMap, PerfMapProblem};
use crate::target::Modules;
use crate::target::filesystem::Root;

/// How much to find out, and at what cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Use debug information: lines, inlined functions, names of functions without symbol.
    pub debug_info: bool,
    /// Show inlined functions.
    pub inlined: bool,
    /// Limits for one module.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self { debug_info: true, inlined: true, limits: Limits::default() }
    }
}

/// Names all frames. `sources` are those of the traced processes.
pub fn symbolize(frames: &Frames, modules: &Modules, sources: &HeldSources, settings: Settings) -> Symbolized {
    let (mut by_module, mut by_process) = (BTreeMap::<u16, Vec<usize>>::new(), BTreeMap::<u32, Vec<usize>>::new());
    for (index, place) in frames.places().iter().enumerate() {
        match place.module {
            0 => by_process.entry(place.process).or_default().push(index),
            module => by_module.entry(module).or_default().push(index),
        }
    }
    let addresses = |indices: &[usize]| indices.iter().map(|&index| frames.places()[index].address).collect::<Vec<_>>();

    let host = Root::host().ok();
    let wanted = Wanted { debug_info: settings.debug_info, inlined: settings.inlined };
    let of_kernel = by_module.remove(&KERNEL_MODULE).unwrap_or_default();
    let by_module: Vec<_> = by_module.into_iter().collect();
    let named: Vec<_> = in_parallel(|| {
        let items = by_module.par_iter();
        let named = items.map(|(number, indices)| {
            let module = modules.get(*number)?;
            let roots: Vec<&Root> = sources.of_module(*number).into_iter().chain(&host).collect();
            Some((module, name_module::name(module, &addresses(indices), &roots, wanted, settings.limits)))
        });
        named.collect()
    });

    let mut result = result::Builder::new(frames.len());
    for ((_, indices), named) in by_module.iter().zip(named) {
        match named {
            Some((module, named)) => result.module(module, frames.places(), indices, named),
            // A frame of a module that was never scanned: a bug in tracer, shown as an address.
            None => result.run_time_code(frames.places(), indices, None, Err(PerfMapProblem::Absent)),
        }
    }
    let mut left = MAX_PERF_MAPS;
    for (process, indices) in &by_process {
        let source = sources.of_process(*process).ok_or(PerfMapProblem::NotHeld);
        let map = source.and_then(|source| match left {
            0 => Err(PerfMapProblem::TooMany),
            _ => PerfMap::read(&source.root, source.namespace_pid, source.uid),
        });
        left = left.saturating_sub(map.as_ref().map_or(0, PerfMap::size));
        let names = map.map(|map| map.names(&addresses(indices)));
        result.run_time_code(frames.places(), indices, Some(*process), names);
    }
    if !of_kernel.is_empty() {
        result.kernel(&of_kernel, kernel::names(&addresses(&of_kernel)));
    }
    result.finish()
}

/// Bytes of perf maps that are read, of all processes; what is begun is read to its end.
const MAX_PERF_MAPS: u64 = 1 << 30;
/// Modules that are read at the same time, at most: each may use the memory of [`Limits`].
const MAX_THREADS: usize = 4;
/// The confined reader runs on the stack of the thread that starts it, and DWARF nests.
const STACK_SIZE: usize = 64 << 20;

/// Runs `work` in a thread pool of its own, or here where none can be made.
fn in_parallel<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(MAX_THREADS));
    match ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK_SIZE).build() {
        Ok(pool) => pool.install(work),
        Err(_) => work(),
    }
}

#[cfg(test)]
mod tests;
