//! A process with more executable mappings than there is room for: those that do not fit are counted, and once, however often they are
//! read.

use std::{thread, time::Duration};

use tracer_ebpf::abi::process::MAX_MAPPINGS;

use crate::{
    programs::{Build, Compiler, Program},
    recording::{EVERY, alone, record, request},
};

#[test]
fn mappings_that_do_not_fit_are_counted_once() {
    let Some(_guard) = alone() else { return };
    let too_many = MAX_MAPPINGS + 500;
    let path = Build::new(Compiler::Gcc, "many_mappings.c", &["-O2"]).compile();
    let mut program = Program::start(&path, &[&too_many.to_string()], None);
    let (recording, ()) = record(program.pid(), request(EVERY), || {
        program.go();
        assert_eq!(program.line(), "done");
        // For the last of them to be read.
        thread::sleep(Duration::from_millis(500));
    });
    program.finish();
    // Those of the program and its libraries are cut in pieces.
    let unfit = recording.losses.mappings;
    println!("{unfit} did not fit");
    assert!((500..600).contains(&unfit), "{unfit}");
}
