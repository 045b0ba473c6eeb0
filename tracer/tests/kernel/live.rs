//! Blocks are followed to their release: what tracer says is in use is what the program says it holds, to the byte.

use tracer::{
    probe::live::LiveOptions,
    record::{live::Fate, raw::RawRecording, request::Request},
};

use crate::{
    programs::{Build, Compiler, Program},
    recording::{EVERY, alone, record, request},
};

const FOLLOW: LiveOptions = LiveOptions { blocks: 1 << 18, sessions: true };
/// What kernels before 6.13 have: all returns are trapped.
const ALWAYS: LiveOptions = LiveOptions { sessions: false, ..FOLLOW };

/// Bytes and blocks that are in use at the end.
fn in_use(recording: &RawRecording) -> (u64, u64) {
    let live = recording.parts.samples.iter().filter(|sample| sample.fate == Fate::InUse);
    live.fold((0, 0), |(bytes, blocks), sample| (bytes + sample.size, blocks + 1))
}

/// Runs the program under a recording; what it holds in the end comes along.
fn run(build: Build, live: LiveOptions, threads: &str, rounds: &str) -> (RawRecording, (u64, u64)) {
    let mut program = Program::start(&build.compile(), &[threads, rounds], None);
    let wanted = Request { live: Some(live), ..request(EVERY) };
    let (recording, said) = record(program.pid(), wanted, || {
        program.go();
        program.line()
    });
    // It runs on unharmed.
    program.finish();
    let words: Vec<&str> = said.split(' ').collect();
    let ["held", bytes, blocks] = words.as_slice() else { panic!("{said}") };
    (recording, (bytes.parse().expect("bytes"), blocks.parse().expect("blocks")))
}

fn assert_exact(build: Build, live: LiveOptions, threads: &str) {
    let (recording, held) = run(build, live, threads, "20000");
    let counts = recording.live.clone().expect("blocks were followed");
    println!("{build}: {held:?} of {} blocks, {counts:?}", recording.parts.samples.len());
    assert_eq!(recording.losses.samples(), 0, "{:?}", recording.losses);
    assert_eq!((counts.not_followed, counts.missed_releases, counts.interval_raised), (0, 0, 0));
    let own = recording.parts.samples.iter().filter(|sample| sample.fate == Fate::InUse && sample.thread == 0);
    assert_eq!(own.count(), 0);
    assert_eq!(in_use(&recording), held, "bytes and blocks in use");
}

#[test]
fn in_use_is_exact_with_session_links() {
    let Some(_guard) = alone() else { return };
    for threads in ["1", "4"] {
        assert_exact(Build::new(Compiler::Gcc, "live.c", &["-O2"]), FOLLOW, threads);
    }
}

#[test]
fn in_use_is_exact_with_return_probes() {
    let Some(_guard) = alone() else { return };
    for threads in ["1", "4"] {
        assert_exact(Build::new(Compiler::Gcc, "live.c", &["-O2"]), ALWAYS, threads);
    }
}
