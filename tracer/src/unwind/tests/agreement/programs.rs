//! The same over the programs of the real-kernel tests, which have frames of every shape, as several compilers make them.

use std::path::{Path, PathBuf};
use std::process::Command;

use gimli::{BaseAddresses, DebugFrame};
use object::{Object, ObjectSection};

use super::{compare, compare_compiled, skip};
use crate::unwind::ModuleTable;

const LEVELS: [&str; 4] = ["-O0", "-O2", "-O3", "-Os"];

/// Compiles a program into a directory; `None` where there is no such compiler.
fn compile(compiler: &str, source: &str, flags: &[&str], directory: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/programs").join(source);
    let output = directory.join(format!("{compiler}{}", flags.join("")));
    match Command::new(compiler).args(flags).arg(source).arg("-o").arg(&output).status() {
        Ok(status) => assert!(status.success(), "{compiler} {flags:?}"),
        Err(error) => {
            skip(&format!("{compiler}: {error}"));
            return None;
        }
    }
    Some(output)
}

fn compare_builds(source: &str, compilers: [&str; 2], standard: &str) {
    let directory = tempfile::tempdir().unwrap();
    for compiler in compilers {
        for level in LEVELS {
            let Some(program) = compile(compiler, source, &[level, standard, "-pthread"], directory.path()) else {
                continue;
            };
            compare_compiled(&program);
        }
    }
}

#[test]
fn c() {
    compare_builds("torture.c", ["gcc", "clang"], "-std=gnu17");
}

#[test]
fn cxx() {
    compare_builds("torture.cpp", ["g++", "clang++"], "-std=gnu++17");
}

#[test]
fn rust() {
    let directory = tempfile::tempdir().unwrap();
    for level in ["-Copt-level=0", "-Copt-level=3"] {
        if let Some(program) = compile("rustc", "torture.rs", &["--edition=2024", level], directory.path()) {
            compare_compiled(&program);
        }
    }
}

/// Without `.eh_frame` of its own: what there is comes from the objects that begin and end every program.
#[test]
fn debug_frame() {
    let directory = tempfile::tempdir().unwrap();
    for level in LEVELS {
        let flags = [level, "-g", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-std=gnu17", "-pthread"];
        let Some(program) = compile("gcc", "torture.c", &flags, directory.path()) else { continue };
        let bytes = std::fs::read(program).unwrap();
        let file = object::File::parse(bytes.as_slice()).unwrap();
        let section = file.section_by_name(".debug_frame").unwrap();
        let debug_frame = DebugFrame::new(section.data().unwrap(), gimli::LittleEndian);
        let table = ModuleTable::build(bytes.as_slice()).unwrap();
        let agreement = compare(&debug_frame, &BaseAddresses::default(), &table);
        println!("{level}: {agreement:?}, {:?}", table.coverage());
        agreement.assert_known();
        assert_eq!((agreement.missed, table.coverage().unreadable_entries), (0, 0), "{agreement:?}");
        // Less than that and most functions were described elsewhere.
        assert!(agreement.addresses > 400, "{agreement:?}");
    }
}
