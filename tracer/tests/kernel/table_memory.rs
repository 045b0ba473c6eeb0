//! An unwind table for which the memory set aside does not suffice: stacks end where it is missing, and the summary says why
//! and what helps.

use tracer::{
    output::text,
    profile::Profile,
    record::{assemble::assemble, request::Request},
};
use tracer_ebpf::abi::sample::WalkStatus;

use crate::{
    programs::{Build, Compiler, Program},
    recording::{EVERY, alone, record, request},
};

const PROGRAM: Build = Build::new(Compiler::Gcc, "wide.c", &["-O2"]);
const ALLOCATIONS: usize = 500;
const SIZE: u64 = 1000;

/// Records the program with so much memory for tables: how its stacks ended, what was lost, and the summary.
fn run(table_bytes: u64) -> (Vec<(WalkStatus, String)>, u64, String) {
    let mut program = Program::start(&PROGRAM.compile(), &[&ALLOCATIONS.to_string()], None);
    let (raw, ()) = record(program.pid(), Request { table_bytes, ..request(EVERY) }, || {
        program.go();
        assert_eq!(program.line(), "done");
    });
    program.finish();
    let stacks = raw.parts.samples.iter().filter(|sample| sample.size == SIZE).map(|sample| {
        let stack = &raw.parts.stacks[sample.stack as usize];
        (stack.status, raw.modules.get(stack.stopped_in).map(|module| module.path.clone()).unwrap_or_default())
    });
    let stacks = stacks.collect();
    let recording = assemble(raw);
    let mut summary = Vec::new();
    text::write(&recording, &Profile::new(&recording), &[], &mut summary).expect("a buffer takes everything");
    (stacks, recording.about.losses.tables, String::from_utf8(summary).expect("the summary is text"))
}

#[test]
fn a_table_without_room_is_named_and_the_others_serve() {
    let Some(_guard) = alone() else { return };
    let path = PROGRAM.compile().to_string_lossy().into_owned();
    let (stacks, lost, summary) = run(1 << 20);
    println!("{summary}");
    assert_eq!(stacks.len(), ALLOCATIONS);
    // libc's table had room: the walk came as far as the program.
    assert!(stacks.iter().all(|(status, module)| *status == WalkStatus::NoTable && *module == path), "{stacks:?}");
    assert_eq!(lost, 1);
    for line in [
        &format!("unwind table not loaded in {path}\n            hint: raise --unwind-memory: its unwind table needs "),
        "1 x unwind table: memory for tables was used up",
    ] {
        assert!(summary.contains(line), "no {line:?} in\n{summary}");
    }

    let (stacks, lost, summary) = run(64 << 20);
    assert_eq!(stacks.len(), ALLOCATIONS);
    assert!(stacks.iter().all(|(status, _)| *status == WalkStatus::Complete), "{stacks:?}");
    assert_eq!(lost, 0);
    assert!(!summary.contains("--unwind-memory"), "{summary}");
}
