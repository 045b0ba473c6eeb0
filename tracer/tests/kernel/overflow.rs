//! A ring buffer that is far too small loses samples, counts every one of them, and leaves the exact counters exact.

use tracer::record::request::Request;

use crate::{
    programs::{Build, Compiler, Program},
    recording::{EVERY, alone, record, request},
};

#[test]
fn samples_lost_are_counted() {
    let Some(_guard) = alone() else { return };
    let path = Build::new(Compiler::Gcc, "allocate.c", &["-O2"]).compile();
    let mut program = Program::start(&path, &["3", "200", "1"], None);
    // A page: about ten samples.
    let tiny = Request { ring_bytes: 4096, ..request(EVERY) };
    let (recording, ()) = record(program.pid(), tiny, || {
        program.go();
        program.line();
    });
    program.finish();
    let calls: u64 = recording.counters.iter().flatten().map(|class| class.calls).sum();
    let (taken, lost) = (recording.parts.samples.len() as u64, recording.losses.samples());
    println!("{calls} calls, {taken} samples, {lost} lost: {:?}", recording.losses);
    assert!(recording.losses.ring_full > 0, "nothing was lost: the ring is not too small");
    assert!(taken > 0, "everything was lost");
    assert_eq!(taken + lost, calls);
}
