//! `--layer mappings`: anonymous memory that is asked of the kernel, to the call and to the byte.

use std::{collections::BTreeMap, process::Command};

use crate::{
    matrix::{command::Tracer, comparison::stack_names, program::Program},
    programs::{Build, Compiler},
    recording::alone,
};

const DYNAMIC: Build = Build::new(Compiler::Gcc, "maps.c", &["-O1"]);
const STATIC: Build = Build::new(Compiler::Gcc, "maps.c", &["-O1", "-static"]);

#[test]
fn anonymous_memory_is_counted_and_files_are_not() {
    let Some(_guard) = alone() else { return };
    for build in [DYNAMIC, STATIC] {
        // A fixed threshold: otherwise glibc maps no more blocks of a size that was given back once (mallopt(3)).
        let mut program =
            Program::start(Command::new(build.compile()).arg("40").env("MALLOC_MMAP_THRESHOLD_", "131072"));
        let tracer = Tracer::start(program.pid(), &["--layer", "mappings", "--interval", "1"]);
        let truth = program.work();
        let (recording, _) = tracer.interrupt();
        assert_eq!(recording.about.losses.samples(), 0);
        let mut expected: BTreeMap<(&str, u64), u64> = BTreeMap::new();
        for count in &truth.counts {
            expected.insert((count.kind.as_str(), count.size), count.calls);
        }
        // A million bytes and the allocator's header, in whole pages.
        expected.insert(("mmap", 1_003_520), 40);
        let names = stack_names(&recording);
        let mut counted: BTreeMap<(&str, u64), u64> = BTreeMap::new();
        for sample in &recording.samples {
            *counted.entry((names[sample.stack as usize][0], sample.size)).or_default() += 1;
        }
        assert_eq!(counted, expected);
        let exact = recording.about.counters.iter().flat_map(|counter| &counter.classes);
        let (calls, bytes) = exact.fold((0, 0), |sum, class| (sum.0 + class.calls, sum.1 + class.bytes));
        assert_eq!(
            (calls, bytes),
            expected.iter().fold((0, 0), |sum, ((_, size), calls)| (sum.0 + calls, sum.1 + size * calls))
        );
        assert!(recording.about.counters.iter().all(|counter| counter.family == "mmap"));
    }
}
