//! Facts about a process: what would be probed, which stacks and which names to expect.

use serde::Serialize;

use crate::{
    allocators::{NoAllocator, Plan},
    record::discover::{Wanted, discover},
    symbolize::{
        NameSources,
        available::{SymbolTable, available},
        perf_map::{PerfMap, PerfMapProblem},
    },
    target::{MappingKind, Module, Modules, Process, Scan, filesystem::Root},
    unwind::{self, Coverage},
};

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessFacts {
    /// Process id.
    pub pid: u32,
    /// Name (`comm`).
    pub name: String,
    /// Path of its executable, as it sees it.
    pub executable: String,
    /// Effective user id.
    pub user: u32,
    /// Threads it has.
    pub threads: u32,
    /// What would be probed.
    pub allocators: Allocators,
    /// Functions named by hand that would not be, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<String>,
    /// Mapped ELF files, in the order of their addresses.
    pub modules: Vec<ModuleFacts>,
    /// Executable memory that is no file; `None` where there is none.
    pub run_time_code: Option<RunTimeCode>,
    /// Kernel memory that its unwind tables would take, in bytes.
    pub unwind_table_bytes: u64,
}

/// What would be probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Allocators {
    /// These functions.
    Found {
        /// Probed functions.
        probed: Vec<FunctionFacts>,
        /// Functions of the table that are not probed.
        skipped: Vec<FunctionFacts>,
        /// The plan, for people.
        #[serde(skip)]
        plan: String,
    },
    /// Nothing, for this reason.
    None {
        /// See the variant.
        reason: String,
    },
}

/// A function of an allocator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FunctionFacts {
    /// As in the symbol table.
    pub function: String,
    /// Allocator family, for example `glibc`.
    pub family: String,
    /// Path of its module.
    pub module: String,
    /// Where it would be probed, or why it would not.
    pub why: String,
}

/// A mapped ELF file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModuleFacts {
    /// Path, or `[vdso]`.
    pub path: String,
    /// Build id in hexadecimal; empty where there is none.
    pub build_id: String,
    /// Names of its functions.
    pub symbols: Symbols,
    /// Source lines and inlined functions.
    pub lines: bool,
    /// Separate debug file that would be read; empty where there is none.
    pub debug_file: String,
    /// How its frames are unwound.
    pub unwinding: Unwinding,
}

/// Where names come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "reason", rename_all = "kebab-case")]
pub enum Symbols {
    /// All functions have names.
    All,
    /// Exported functions have names.
    Exported,
    /// None has.
    None,
    /// The file cannot be read.
    Unreadable(String),
}

/// How much of a module's text can be unwound.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Unwinding {
    /// In shares of its text, which sum up to 1.
    Known {
        /// By table.
        table: f64,
        /// By frame pointer.
        frame_pointer: f64,
        /// Described in a form that tracer does not know.
        unsupported: f64,
        /// Not described.
        nothing: f64,
    },
    /// Not at all, for this reason.
    Unknown {
        /// See the variant.
        reason: String,
    },
}

/// Executable memory without a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunTimeCode {
    /// Mappings.
    pub mappings: usize,
    /// A perf map names its functions.
    pub perf_map: bool,
    /// Why there is none, and what to do; empty where there is one.
    pub hint: String,
}

/// Looks at a process. `wanted`: what a recording would be asked to count.
///
/// # Errors
/// When its mappings or its file system cannot be read, or it has ended.
pub fn inspect(process: &Process, wanted: &Wanted) -> std::io::Result<ProcessFacts> {
    let mut modules = Modules::new();
    let scan = modules.scan(process.pid)?;
    let source = NameSources::new(process)?;
    let mapped: Vec<&Module> = in_order(&scan).into_iter().filter_map(|number| modules.get(number)).collect();
    let found = discover(&modules, process.pid, &scan, wanted);
    let (unwinding, unwind_table_bytes) = unwinding(&mapped);
    Ok(ProcessFacts {
        pid: process.pid,
        name: process.name.clone(),
        executable: process.executable.to_string_lossy().into_owned(),
        user: process.uid,
        threads: process.threads,
        missed: found.missed.iter().map(ToString::to_string).collect(),
        allocators: allocators(found.plan),
        modules: mapped.iter().zip(unwinding).map(|(module, how)| module_facts(module, how, &source)).collect(),
        run_time_code: run_time_code(process, &scan),
        unwind_table_bytes,
    })
}

/// Module numbers, each once.
fn in_order(scan: &Scan) -> Vec<u16> {
    let mut numbers: Vec<u16> = Vec::new();
    for mapping in scan.mappings.iter().filter(|mapping| mapping.module != 0) {
        if !numbers.contains(&mapping.module) {
            numbers.push(mapping.module);
        }
    }
    numbers
}

fn allocators(plan: Result<Plan, NoAllocator>) -> Allocators {
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => return Allocators::None { reason: error.to_string() },
    };
    let path = |plan: &Plan, module: u16| plan.modules.get(usize::from(module)).cloned().unwrap_or_default();
    let probed = plan.probes.iter().map(|probe| FunctionFacts {
        function: probe.function.clone(),
        family: probe.family.to_owned(),
        module: path(&plan, probe.module),
        why: probe.to_string(),
    });
    let skipped = plan.skipped.iter().map(|skipped| FunctionFacts {
        function: skipped.function.clone(),
        family: skipped.family.to_owned(),
        module: path(&plan, skipped.module),
        why: skipped.reason.to_string(),
    });
    Allocators::Found { probed: probed.collect(), skipped: skipped.collect(), plan: plan.to_string() }
}

/// How each module is unwound, and what all tables together take.
fn unwinding(modules: &[&Module]) -> (Vec<Unwinding>, u64) {
    let files: Vec<_> = modules.iter().map(|module| Some((module.state()?, module.file()?))).collect();
    let states: Vec<_> = files.iter().map(|file| file.as_ref().map(|(state, _)| *state)).collect();
    let tables = unwind::build(&files.into_iter().flatten().collect::<Vec<_>>());
    let mut bytes = 0;
    let unwinding =
        modules.iter().zip(states).map(|(module, state)| match state.and_then(|state| tables.get(&state)) {
            Some(Ok(table)) => {
                bytes += table.bytes();
                shares(table.coverage())
            }
            Some(Err(error)) => Unwinding::Unknown { reason: error.to_string() },
            None => {
                let missing = module.facts().err();
                Unwinding::Unknown { reason: missing.map_or_else(String::new, |missing| missing.to_string()) }
            }
        });
    (unwinding.collect(), bytes)
}

fn shares(coverage: Coverage) -> Unwinding {
    let share = |bytes: u64| bytes as f64 / coverage.text.max(1) as f64;
    Unwinding::Known {
        table: share(coverage.with_rule),
        frame_pointer: share(coverage.frame_pointer),
        unsupported: share(coverage.unsupported),
        nothing: share(coverage.no_info),
    }
}

fn module_facts(module: &Module, unwinding: Unwinding, source: &NameSources) -> ModuleFacts {
    let found = available(module, source);
    let symbols = match &found {
        Ok(found) => match found.symbols {
            SymbolTable::Full | SymbolTable::Embedded => Symbols::All,
            SymbolTable::Exported => Symbols::Exported,
            SymbolTable::Absent => Symbols::None,
        },
        Err(missing) => Symbols::Unreadable(missing.to_string()),
    };
    let found = found.ok();
    ModuleFacts {
        path: module.path.clone(),
        build_id: module.build_id().map(ToString::to_string).unwrap_or_default(),
        symbols,
        lines: found.as_ref().is_some_and(|found| found.lines),
        debug_file: found
            .and_then(|found| found.debug_file)
            .map_or_else(String::new, |path| path.to_string_lossy().into_owned()),
        unwinding,
    }
}

fn run_time_code(process: &Process, scan: &Scan) -> Option<RunTimeCode> {
    let is_run_time_code = |kind: MappingKind| kind == MappingKind::Anonymous;
    let mappings = scan.mappings.iter().filter(|mapping| is_run_time_code(mapping.kind)).count();
    if mappings == 0 {
        return None;
    }
    let map = Root::of_process(process.pid)
        .map_err(|_| PerfMapProblem::NotReadable)
        .and_then(|root| PerfMap::read(&root, process.namespace_pid, process.uid));
    let hint = map.as_ref().err().map(|problem| format!("{problem}: {}", problem.hint())).unwrap_or_default();
    Some(RunTimeCode { mappings, perf_map: map.is_ok(), hint })
}
