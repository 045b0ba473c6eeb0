//! Blocks are followed to their release: what tracer says is in use is what the program says it holds, to the byte.

use std::{path::Path, process::Command};

use tracer::{
    estimate::inclusion::weigh,
    probe::live::LiveOptions,
    record::{interval::IntervalSetting, live::Fate, raw::RawRecording, request::Request, session::Session},
    recording::about::Ended,
    target::Process,
};

use crate::{
    matrix::program::Program,
    programs::{Build, Compiler},
    recording::{EVERY, alone, record, request},
};

const FOLLOW: LiveOptions = LiveOptions { blocks: 1 << 18, sessions: true };
/// What kernels before 6.13 have: all returns are trapped.
const ALWAYS: LiveOptions = LiveOptions { sessions: false, ..FOLLOW };

/// Bytes and blocks.
type Held = (u64, u64);

/// What is in use at the end.
fn in_use(recording: &RawRecording) -> Held {
    let live = recording.parts.samples.iter().filter(|sample| sample.fate == Fate::InUse);
    live.fold((0, 0), |(bytes, blocks), sample| (bytes + sample.size, blocks + 1))
}

/// What a program says that it holds.
fn held(line: &str) -> Held {
    let words: Vec<&str> = line.split(' ').collect();
    let ["held", bytes, blocks] = words.as_slice() else { panic!("{line}") };
    (bytes.parse().expect("bytes"), blocks.parse().expect("blocks"))
}

fn following(live: LiveOptions) -> Request {
    Request { live: Some(live), ..request(EVERY) }
}

/// Runs a program under a recording; what it holds in the end comes along.
fn run(mut command: Command, wanted: Request) -> (RawRecording, Held) {
    let mut program = Program::start(&mut command);
    let (recording, said) = record(program.pid(), wanted, || {
        program.go();
        program.line()
    });
    // It runs on unharmed.
    program.end();
    (recording, held(&said))
}

/// Records a program, and holds what is in use against what it says.
fn assert_exact(command: Command, live: LiveOptions) {
    let shown = format!("{command:?}");
    let (recording, held) = run(command, following(live));
    let counts = recording.live.clone().expect("blocks were followed");
    println!("{shown}: {held:?} of {} blocks, {counts:?}", recording.parts.samples.len());
    assert_eq!(recording.losses.samples(), 0, "{:?}", recording.losses);
    assert_eq!((counts.not_followed, counts.missed_releases, counts.interval_raised), (0, 0, 0));
    assert_eq!(in_use(&recording), held, "bytes and blocks in use");
}

fn command(path: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(path);
    command.args(arguments);
    command
}

#[test]
fn in_use_is_exact_whatever_sees_the_returns() {
    let Some(_guard) = alone() else { return };
    let path = Build::new(Compiler::Gcc, "live.c", &["-O2"]).compile();
    for live in [FOLLOW, ALWAYS] {
        for threads in ["1", "4"] {
            assert_exact(command(&path, &[threads, "20000"]), live);
        }
    }
}

/// A return probe in a function that throws would end the program.
#[test]
fn exceptions_pass_through_functions_that_allocate() {
    let Some(_guard) = alone() else { return };
    let path = Build::new(Compiler::Gxx, "throws.cpp", &["-O1"]).compile();
    let own_allocator = Build::new(Compiler::Gxx, "throws.cpp", &["-O1", "-static"]).compile();
    // mimalloc's C library does not throw, it aborts.
    for live in [FOLLOW, ALWAYS] {
        assert_exact(command(&path, &["50"]), live);
        assert_exact(command(&own_allocator, &["50"]), live);
        for library in ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"] {
            let mut command = command(&path, &["50"]);
            command.env("LD_PRELOAD", library);
            assert_exact(command, live);
        }
    }
}

/// What a child releases is its own copy, and what ran before the program that a process runs now is gone.
#[test]
fn children_and_new_programs_have_heaps_of_their_own() {
    let Some(_guard) = alone() else { return };
    let path = Build::new(Compiler::Gcc, "live_fork.c", &["-O0"]).compile();
    assert_exact_at_fork(&path);
    let mut program = Program::start(&mut command(&path, &[]));
    let wanted = Request { live: Some(FOLLOW), ..request(EVERY) };
    let (recording, said) = record(program.pid(), wanted, || {
        program.go();
        assert_eq!(program.line(), "held 1000000 1000");
        program.go();
        program.line()
    });
    program.end();
    assert_eq!(in_use(&recording), held(&said));
    let released = recording.parts.samples.iter().filter(|sample| sample.size == 1000);
    let released: Vec<Fate> = released.map(|sample| sample.fate).collect();
    assert_eq!(released.len(), 1000);
    let at_exec = |fate: &Fate| matches!(fate, Fate::Released { by, .. } if *by == recording.targets[0].pid);
    assert!(released.iter().all(at_exec), "{:?}", released[0]);
}

fn assert_exact_at_fork(path: &Path) {
    let mut program = Program::start(&mut command(path, &[]));
    let wanted = Request { live: Some(FOLLOW), ..request(EVERY) };
    let (recording, said) = record(program.pid(), wanted, || {
        program.go();
        program.line()
    });
    assert_eq!(in_use(&recording), held(&said));
}

/// The heap grows far beyond the blocks that can be followed: samples are thinned, and what is in use is still estimated.
#[test]
fn memory_is_bounded_while_the_heap_grows() {
    let Some(_guard) = alone() else { return };
    const BLOCKS: u32 = 4096;
    let path = Build::new(Compiler::Gcc, "grow.c", &["-O1"]).compile();
    let interval = IntervalSetting::Fixed(32 << 10);
    let wanted = Request { interval, max_samples: BLOCKS, ..following(LiveOptions { blocks: BLOCKS, ..FOLLOW }) };
    let (recording, (bytes, blocks)) = run(command(&path, &["600000"]), wanted);
    let counts = recording.live.clone().expect("blocks were followed");
    let weighed: Vec<_> = recording
        .parts
        .samples
        .iter()
        .filter(|sample| sample.fate == Fate::InUse)
        .map(|sample| weigh(sample.size, sample.interval, 1.0))
        .collect();
    let estimate: f64 = weighed.iter().map(|measure| measure.bytes.value).sum();
    let deviation = weighed.iter().map(|measure| measure.bytes.variance).sum::<f64>().sqrt();
    println!(
        "{blocks} blocks of {bytes} bytes, estimated {estimate:.0} ± {deviation:.0} from {}; {counts:?}",
        weighed.len()
    );
    assert!(blocks > 20 * u64::from(BLOCKS) && weighed.len() <= BLOCKS as usize);
    assert!(counts.interval_raised > 0);
    // As many records may come before room is made.
    const AT_ONCE: usize = 8192;
    let samples = recording.parts.samples.len();
    assert!(samples <= 2 * BLOCKS as usize + AT_ONCE, "{samples} samples");
    assert!(recording.parts.thinned > 0 && recording.notes.iter().any(|note| note.contains("--max-samples")));
    assert_eq!((counts.not_followed, recording.losses.samples()), (0, 0), "{counts:?}");
    assert!((estimate - bytes as f64).abs() < 5.0 * deviation, "{estimate} ± {deviation}, in truth {bytes}");
}

/// Blocks are followed all the time or not at all: when that costs too much, what was seen so far is kept.
#[test]
fn a_broken_budget_ends_the_recording() {
    let Some(_guard) = alone() else { return };
    let path = Build::new(Compiler::Gcc, "live.c", &["-O2"]).compile();
    let wanted = Request { interval: IntervalSetting::Fixed(1 << 20), max_overhead: Some(0.001), ..following(FOLLOW) };
    let (recording, _) = run(command(&path, &["1", "3000000"]), wanted);
    assert_eq!(recording.ended, Ended::Budget, "{:?}", recording.cost);
    assert!(recording.cost.is_some_and(|cost| cost.budget == Some(0.001) && cost.hits > 0));
    assert!(recording.parts.samples.iter().any(|sample| sample.fate != Fate::Unknown));
}

/// Releases slow a program like allocations do.
#[test]
fn all_hits_are_in_the_cost() {
    let Some(_guard) = alone() else { return };
    let path = Build::new(Compiler::Gcc, "live.c", &["-O2"]).compile();
    let wanted = Request { interval: IntervalSetting::Fixed(1 << 30), ..following(FOLLOW) };
    let (recording, _) = run(command(&path, &["1", "1000000"]), wanted);
    let calls: u64 = recording.counters.iter().flatten().map(|class| class.calls).sum();
    let cost = recording.cost.expect("the cost is known");
    println!("{calls} calls, {cost:?}");
    assert!(cost.hits > calls * 3 / 2, "the program releases most of its blocks");
    // Nearly all of its time is lost, so that the slowdown itself may be any large number.
    let spent = cost.spent_ns as f64 / cost.target_cpu_ns as f64;
    let said = 1.0 - 1.0 / cost.slowdown_in_windows;
    assert!((said - spent).abs() < 0.02, "{said} of its time, {spent} by all hits");
}

/// Nothing in a Go program releases its blocks.
#[test]
fn where_nothing_can_be_followed_that_is_said() {
    let Some(_guard) = alone() else { return };
    let program = crate::matrix::go_program();
    let program = Program::start(&mut command(&program, &["1"]));
    let target = Process::open(program.pid()).expect("the program runs");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let _in_runtime = runtime.enter();
    let mut session = Session::new(following(FOLLOW)).unwrap_or_else(|error| panic!("{error}"));
    let error = session.discover(&target).expect_err("Go collects garbage").to_string();
    assert!(error.contains("of Go, a collector releases them; record without --live"), "{error}");
}
