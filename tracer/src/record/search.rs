//! The search for allocators in the files of a process: reads them and, where that does not do, their debug files.

use std::{fs::File, path::Path};

use object::read::ReadRef;

use super::discover::{Found, Input, Probed, Wanted};
use crate::{
    allocators::{
        self, ModuleSymbols, SkipReason, Skipped,
        by_hand::{
            self,
            find::{self, Missed, Reason},
        },
    },
    symbolize::debug_file,
    target::{elf, filesystem::Root},
    unwind::function_extents,
};

/// Chooses the functions to probe in modules given in link order. Separate debug files are read where that fails without:
/// with the roots of the process and of tracer.
pub fn search(inputs: &[Input], process: u32, wanted: &Wanted) -> Found {
    let found = search_files(inputs, &DebugFiles::default(), wanted);
    let is_nameless = |missed: &Missed| matches!(missed.reason, Reason::NoSymbol { .. });
    if found.plan.is_ok() && !found.missed.iter().any(is_nameless) {
        return found;
    }
    let roots: Vec<Root> = Root::of_process(process).into_iter().chain(Root::host()).collect();
    let roots: Vec<&Root> = roots.iter().collect();
    let debug_file = |input: &Input| {
        debug_file::of(&input.file, Path::new(&input.path), input.build_id.as_ref(), &roots).map(|debug| debug.file)
    };
    let files: Vec<Option<File>> = inputs.iter().map(debug_file).collect();
    if files.iter().all(Option::is_none) {
        return found;
    }
    search_files(inputs, &DebugFiles { files, for_table: found.plan.is_err() }, wanted)
}

/// Separate debug files.
#[derive(Default)]
struct DebugFiles {
    /// The file of each input, or nothing at all.
    files: Vec<Option<File>>,
    /// Whether they are for the table too, not only for names that the user gives.
    for_table: bool,
}

fn search_files(inputs: &[Input], debug: &DebugFiles, wanted: &Wanted) -> Found {
    let readers: Vec<_> = inputs.iter().map(|input| elf::reader(&input.file)).collect();
    let debug_readers: Vec<_> = debug.files.iter().map(|file| file.as_ref().map(elf::reader)).collect();
    let debug_readers = debug_readers.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    let (mut numbers, mut symbols, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for ((input, reader), debug_reader) in inputs.iter().zip(&readers).zip(debug_readers) {
        let Ok(file) = object::File::parse(reader) else { continue };
        let Ok(mut module) = ModuleSymbols::read(&input.path, &file) else { continue };
        let debug_file = debug_reader.and_then(|reader| object::File::parse(reader).ok());
        if let Some(debug_file) = debug_file.as_ref().filter(|_| debug.for_table) {
            // It fails for one of another machine, and nothing is added.
            let _ = module.add_debug_file(debug_file);
        }
        if !module.functions.is_empty() || !wanted.named.is_empty() {
            // It fails only where reading the module has failed.
            let _ = module.read_code(&file);
        }
        numbers.push(input.module);
        symbols.push(module);
        files.push(Parsed { file, debug: debug_file, data: reader });
    }
    let (by_hand, mut missed) =
        if wanted.named.is_empty() { Default::default() } else { find_named(&symbols, &files, wanted) };
    let options = allocators::Options {
        layer: wanted.layer,
        by_hand: &by_hand,
        releases: wanted.releases,
        ..allocators::Options::default()
    };
    let plan = allocators::discover(&symbols, options);
    let (probes, skipped) = match &plan {
        Ok(plan) => (plan.probes.as_slice(), plan.skipped.as_slice()),
        Err(none) => (&[][..], none.skipped.as_slice()),
    };
    let named = placed(&by_hand, skipped, wanted, &mut missed);
    let number = |index: u16| numbers.get(usize::from(index)).copied();
    let probed = probes
        .iter()
        .filter_map(|point| Some(Probed { module: number(point.module)?, point: point.clone() }))
        .collect();
    Found { probed, missed, named, plan }
}

/// A file, its debug file, and where its bytes are.
struct Parsed<'data, R: ReadRef<'data>> {
    file: object::File<'data, R>,
    debug: Option<object::File<'data, R>>,
    data: R,
}

/// Finds the functions that the user names.
fn find_named<'data, R: ReadRef<'data>>(
    symbols: &[ModuleSymbols<'data>],
    files: &[Parsed<'data, R>],
    wanted: &Wanted,
) -> (Vec<find::Found>, Vec<Missed>) {
    let extents: Vec<_> = files.iter().map(|file| || function_extents(file.data).unwrap_or_default()).collect();
    let modules: Vec<find::Module<'_, 'data, R>> = symbols
        .iter()
        .zip(files)
        .zip(&extents)
        .map(|((module, parsed), extents)| find::Module {
            path: &module.path,
            file: &parsed.file,
            debug: parsed.debug.as_ref(),
            code: &module.code,
            extents,
        })
        .collect();
    find::find(&modules, &wanted.named, wanted.releases)
}

/// Which of the functions that the user names are counted, as indices of what was said; what stands in the way of others goes to
/// `missed`.
fn placed(by_hand: &[find::Found], skipped: &[Skipped], wanted: &Wanted, missed: &mut Vec<Missed>) -> Vec<usize> {
    let mut placed = Vec::new();
    for find::Found { named, entry, .. } in by_hand {
        let is_same = |skipped: &&Skipped| {
            skipped.family == by_hand::FAMILY && (skipped.module, &skipped.function) == (entry.module, &entry.name)
        };
        match (skipped.iter().find(is_same).map(|skipped| &skipped.reason), wanted.named.get(*named)) {
            (None | Some(SkipReason::ProbedAnyway), _) => placed.push(*named),
            (Some(reason), Some(named)) => {
                missed.push(Missed { function: named.to_string(), reason: Reason::Skipped(reason.clone()) });
            }
            (Some(_), None) => {}
        }
    }
    placed
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, process::Command};

    use super::*;
    use crate::{
        allocators::{NamedFunction, assembled::build},
        record::discover::{DiscoverError, inputs},
        target::Modules,
    };

    /// A stripped static program beside its debug file, which it names.
    fn stripped(folder: &Path) -> PathBuf {
        let source = "#include <stdlib.h>\nvoid *pool_take(long n) { return malloc(n); } int main(void) { return !pool_take(1); }";
        let program = folder.join("program");
        std::fs::write(&program, build("source.c", source, &["-static"]).bytes).unwrap();
        let run = |arguments: &[&str]| {
            let status = Command::new("objcopy").args(arguments).arg(&program).current_dir(folder).status().unwrap();
            assert!(status.success(), "{arguments:?}");
        };
        std::fs::copy(&program, folder.join("program.debug")).unwrap();
        run(&["--strip-all"]);
        run(&["--remove-section=.note.gnu.build-id", "--add-gnu-debuglink=program.debug"]);
        program
    }

    fn found(program: &Path, wanted: &Wanted) -> Found {
        let mut modules = Modules::new();
        let number = modules.add_file(program);
        search(&inputs(&modules, &[number]), std::process::id(), wanted)
    }

    #[test]
    fn names_come_from_the_debug_file_where_the_program_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let program = stripped(folder.path());
        let wanted = Wanted { named: vec![NamedFunction::symbol("pool_take").unwrap()], ..Wanted::default() };
        let with_debug_file = found(&program, &wanted);
        let families: Vec<_> = with_debug_file.probed.iter().map(|probed| probed.point.family).collect();
        assert!(families.contains(&"glibc") && families.contains(&by_hand::FAMILY), "{families:?}");
        assert_eq!(with_debug_file.named, [0]);
        with_debug_file.usable().unwrap();

        std::fs::remove_file(folder.path().join("program.debug")).unwrap();
        let without = found(&program, &wanted);
        assert!(without.plan.is_err() && without.probed.is_empty());
        assert!(matches!(without.missed[0].reason, Reason::NoSymbol { .. }));
        let error = without.usable().unwrap_err().to_string();
        assert!(error.starts_with("pool_take: no function has this name"), "{error}");
    }

    #[test]
    fn what_is_named_may_come_later_unless_it_never_can() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        let built = build("source.c", "#include <stdlib.h>\nint main(void) { return !malloc(1); }", &["-static"]);
        std::fs::write(&program, &built.bytes).unwrap();
        let named = |named: NamedFunction| found(&program, &Wanted { named: vec![named], ..Wanted::default() });
        let later = named(NamedFunction::symbol("in_a_plugin").unwrap());
        assert_eq!((later.missed.len(), later.named.len()), (1, 0));
        assert!(!later.usable().unwrap().is_empty());
        let never = named(NamedFunction::offset(&format!("program+{:#x}", built.symbol("main").0 + 1)).unwrap());
        assert!(matches!(never.usable(), Err(DiscoverError::ByHand(_))));
    }
}
