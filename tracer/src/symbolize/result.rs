//! Names as a recording keeps them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use super::frames::Place;
use super::kernel;
use super::lookup::{Answer, DebugInfo};
use super::name_module::NamedModule;
use super::perf_map::{PerfMapNames, PerfMapProblem};
use super::unresolved::Unresolved;
use crate::recording::{Function, FunctionIndex, KERNEL_MARK, Line, Location, Module, ModuleIndex};
use crate::target;

/// The tables of a recording that symbolization fills, and how it went.
#[derive(Debug, Default)]
pub struct Symbolized {
    /// Modules that frames lie in.
    pub modules: Vec<Module>,
    /// Distinct functions.
    pub functions: Vec<Function>,
    /// By the indices that [`Frames`](super::Frames) gave.
    pub locations: Vec<Location>,
    /// One for each of `modules` that is a file.
    pub module_reports: Vec<ModuleReport>,
    /// One for each process with frames outside all modules.
    pub run_time_code: Vec<RunTimeCodeReport>,
}

/// How naming one module went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleReport {
    /// The module.
    pub module: ModuleIndex,
    /// Distinct addresses.
    pub addresses: u64,
    /// Addresses without a name.
    pub unresolved: u64,
    /// Why they have none; `None` where all have one.
    pub reason: Option<Unresolved>,
    /// Whether there are lines.
    pub debug_info: DebugInfo,
    /// The separate debug file that was used.
    pub debug_file: Option<PathBuf>,
    /// Time it took.
    pub elapsed: Duration,
}

/// How naming the run-time code of one process went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunTimeCodeReport {
    /// Process id; `None` for frames of modules that are not known.
    pub process: Option<u32>,
    /// Distinct addresses.
    pub addresses: u64,
    /// Addresses without a name.
    pub unresolved: u64,
    /// Why they have none; `None` where all have one.
    pub reason: Option<Unresolved>,
    /// Lines of the perf map that could not be read.
    pub malformed_lines: u64,
}

/// Collects the tables.
pub(super) struct Builder {
    result: Symbolized,
    functions: HashMap<Function, FunctionIndex>,
}

impl Builder {
    pub fn new(locations: usize) -> Self {
        let result = Symbolized { locations: vec![Location::default(); locations], ..Symbolized::default() };
        Self { result, functions: HashMap::new() }
    }

    /// Adds a module. `indices` are the places that were asked for, in the order of the answer.
    pub fn module(&mut self, module: &target::Module, places: &[Place], indices: &[usize], named: NamedModule) {
        let index = self.result.modules.len() as ModuleIndex;
        self.result.modules.push(Module {
            path: module.path.clone(),
            build_id: module.build_id().map(ToString::to_string).unwrap_or_default(),
            start: module.start,
            end: module.end,
            file_offset: module.file_offset,
        });
        let NamedModule { answer, debug_file, elapsed } = named;
        let reason = match &answer {
            Err(reason) => *reason,
            Ok(answer) if answer.complete => Unresolved::NoSymbol,
            Ok(_) => Unresolved::Stripped,
        };
        let Answer { functions, addresses, debug_info, .. } = answer.unwrap_or_default();
        let functions: Vec<FunctionIndex> = functions
            .into_iter()
            .map(|named| self.function(Function { name: named.name, system_name: named.system_name, file: named.file }))
            .collect();
        let short = module.path.rsplit('/').next().unwrap_or(&module.path);
        let mut unresolved = 0;
        for (position, &place) in indices.iter().enumerate() {
            let address = places[place].address;
            // The reader is confined because it may be wrong; so may its answer.
            let answered = addresses.get(position).map_or(&[][..], Vec::as_slice);
            let line = |&(function, line): &(u32, u32)| {
                Some(Line { function: *functions.get(usize::try_from(function).ok()?)?, line })
            };
            let mut lines: Vec<Line> = answered.iter().filter_map(line).collect();
            if lines.is_empty() {
                unresolved += 1;
                lines.push(self.unnamed(short, address));
            }
            self.result.locations[place] = Location { module: Some(index), address, lines };
        }
        self.result.module_reports.push(ModuleReport {
            module: index,
            addresses: indices.len() as u64,
            unresolved,
            reason: (unresolved > 0).then_some(reason),
            debug_info,
            debug_file,
            elapsed,
        });
    }

    /// Adds frames outside all modules.
    pub fn run_time_code(
        &mut self,
        places: &[Place],
        indices: &[usize],
        process: Option<u32>,
        map: Result<PerfMapNames, PerfMapProblem>,
    ) {
        let reason = map.as_ref().map_or_else(|problem| Unresolved::PerfMap(*problem), |_| Unresolved::NotInPerfMap);
        let (names, malformed_lines) = map.map_or((Vec::new(), 0), |map| (map.names, map.malformed));
        let mut names = names.into_iter();
        let mut unresolved = 0;
        for &place in indices {
            let address = places[place].address;
            let line = match names.next().flatten() {
                Some(name) => {
                    let system_name = name.clone();
                    Line { function: self.function(Function { name, system_name, file: String::new() }), line: 0 }
                }
                None => {
                    unresolved += 1;
                    self.unnamed("[jit]", address)
                }
            };
            self.result.locations[place] = Location { module: None, address, lines: vec![line] };
        }
        self.result.run_time_code.push(RunTimeCodeReport {
            process,
            addresses: indices.len() as u64,
            unresolved,
            reason: (unresolved > 0).then_some(reason),
            malformed_lines,
        });
    }

    /// Adds frames of the kernel.
    pub fn kernel(&mut self, indices: &[usize], named: Vec<kernel::Named>) {
        let module = self.result.modules.len() as ModuleIndex;
        self.result.modules.push(Module { path: kernel::MODULE.to_owned(), ..Module::default() });
        for (&place, kernel::Named { offset, name }) in indices.iter().zip(named) {
            // Where addresses are hidden there is no offset either.
            let unnamed = || match offset {
                0 => kernel::MODULE.to_owned(),
                offset => format!("{}+{offset:#x}", kernel::MODULE),
            };
            let system_name = name.unwrap_or_else(unnamed);
            let name = format!("{system_name}{}", KERNEL_MARK);
            let line = Line { function: self.function(Function { name, system_name, file: String::new() }), line: 0 };
            self.result.locations[place] = Location { module: Some(module), address: offset, lines: vec![line] };
        }
    }

    pub fn finish(self) -> Symbolized {
        self.result
    }

    /// What stands for a function whose name is not known.
    fn unnamed(&mut self, place: &str, address: u64) -> Line {
        let name = format!("{place}+{address:#x}");
        let function = Function { system_name: name.clone(), name, file: String::new() };
        Line { function: self.function(function), line: 0 }
    }

    fn function(&mut self, function: Function) -> FunctionIndex {
        let functions = &mut self.result.functions;
        *self.functions.entry(function).or_insert_with_key(|function| {
            functions.push(function.clone());
            (functions.len() - 1) as FunctionIndex
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_the_kernel_without_name_are_told_by_offset_where_it_is_known() {
        let mut builder = Builder::new(3);
        let named = |offset, name: Option<&str>| kernel::Named { offset, name: name.map(str::to_owned) };
        builder.kernel(&[2, 0, 1], vec![named(0x1230, None), named(0x40, Some("schedule")), named(0, None)]);
        let named = builder.finish();
        let name = |location: &Location| named.functions[location.lines[0].function as usize].name.as_str();
        let names: Vec<&str> = named.locations.iter().map(name).collect();
        assert_eq!(names, ["schedule_[k]", "[kernel]_[k]", "[kernel]+0x1230_[k]"]);
    }
}
