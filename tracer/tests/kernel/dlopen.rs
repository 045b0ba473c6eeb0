//! Libraries that come and go while a program runs: no stack is ever wrong, though another library may stand where one was.

use std::{path::Path, time::Duration};

use tracer_ebpf::abi::sample::WalkStatus;

use crate::{
    comparison::{Judged, Report, Verdict},
    programs::{Build, Compiler, Program, Shim},
    recording::{ONLY_KEYED, alone, record, request},
    truth::TruthFile,
};

const PROGRAM: Build = Build::new(Compiler::Gcc, "dl_loop.c", &["-O2"]);
/// The same code with frames of another size.
pub const PLUGINS: [Build; 2] = [
    Build::new(Compiler::Gcc, "plugin.c", &["-O2", "-fPIC", "-shared", "-DFRAME=200"]),
    Build::new(Compiler::Gcc, "plugin.c", &["-O2", "-fPIC", "-shared", "-DFRAME=3000"]),
];
/// By then stacks through a library are complete.
const SOON: Duration = Duration::from_millis(50);

/// How the program loads its libraries.
struct Loads<'a> {
    seconds: u64,
    /// Every so many pairs of loads, one lasts `milliseconds`; the others are over at once.
    every: u64,
    milliseconds: u64,
    /// One file that both are written into, or each from its own.
    file: Option<&'a Path>,
}

/// One load of a library, as the program says it.
struct Load {
    library: u64,
    address: u64,
    /// CLOCK_MONOTONIC in nanoseconds: dlopen had returned; dlclose was called.
    opened: u64,
    closed: u64,
}

impl Load {
    fn holds(&self, judged: &Judged) -> bool {
        (self.opened..self.closed).contains(&judged.time_ns)
    }
}

fn is_complete(judged: &Judged) -> bool {
    judged.verdict == Verdict::Exact && judged.status == WalkStatus::Complete
}

/// No stack is wrong, whatever the loads.
fn run(loads: &Loads<'_>) -> (Report, Vec<Load>) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let truth = TruthFile::create(directory.path(), 1 << 30);
    let mut arguments = PLUGINS.map(|plugin| plugin.compile().to_string_lossy().into_owned()).to_vec();
    arguments.extend([loads.seconds, loads.every, loads.milliseconds].map(|number| number.to_string()));
    arguments.extend(loads.file.map(|file| file.to_string_lossy().into_owned()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut program = Program::start(&PROGRAM.compile(), &arguments, Some((truth.path(), Shim::Separate)));
    let (recording, said) = record(program.pid(), request(ONLY_KEYED), || {
        truth.enable(true);
        program.go();
        let said = program.line();
        truth.enable(false);
        said
    });
    program.finish();
    let loads: Vec<[u64; 4]> = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let loads: Vec<_> =
        loads.into_iter().map(|[library, address, opened, closed]| Load { library, address, opened, closed }).collect();
    let reused = loads.windows(2).filter(|w| w[0].address == w[1].address && w[0].library != w[1].library).count();
    let truth = truth.read();
    let report = Report::new(&recording, &truth);
    println!("{} loads, {reused} where the other library was: {report}", loads.len());
    assert_eq!(truth.lost, 0, "the truth has no room for all stacks");
    assert!(reused > 0, "no library was loaded where the other one had been: this proves nothing");
    assert!(report.is_sound(), "{report}");
    (report, loads)
}

/// Samples inside libraries whose stacks are complete.
fn complete_inside(report: &Report, loads: &[Load]) -> usize {
    let load_of = |judged: &Judged| loads.get(loads.partition_point(|load| load.closed <= judged.time_ns));
    let is_inside = |judged: &Judged| load_of(judged).is_some_and(|load| load.holds(judged));
    let inside = report.judged.iter().filter(|judged| is_complete(judged) && is_inside(judged)).count();
    println!("{inside} samples inside libraries are complete");
    inside
}

#[test]
fn no_stack_is_wrong_while_libraries_change_fast() {
    let Some(_guard) = alone() else { return };
    let (report, loads) = run(&Loads { seconds: 30, every: 32, milliseconds: 10, file: None });
    let span = loads.last().map_or(0, |last| last.closed) - loads.first().map_or(0, |first| first.opened);
    // The last load may be over just before the time is.
    assert!(span > Duration::from_millis(29_900).as_nanos() as u64, "libraries changed for {span} ns only");
    assert!(complete_inside(&report, &loads) > 3000, "{report}");
}

#[test]
fn no_stack_is_wrong_when_a_file_is_overwritten_between_loads() {
    let Some(_guard) = alone() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join("plugin.so");
    let (report, loads) = run(&Loads { seconds: 10, every: 8, milliseconds: 10, file: Some(&file) });
    assert!(complete_inside(&report, &loads) > 3000, "{report}");
}

#[test]
fn stacks_are_complete_soon_after_dlopen() {
    let Some(_guard) = alone() else { return };
    let (report, loads) = run(&Loads { seconds: 5, every: 1, milliseconds: 400, file: None });
    let mut slow = 0;
    let mut largest = Duration::ZERO;
    for (number, load) in loads.iter().enumerate() {
        let inside: Vec<_> = report.judged.iter().filter(|judged| load.holds(judged)).collect();
        let since = |judged: &Judged| Duration::from_nanos(judged.time_ns - load.opened);
        let delay = inside.iter().filter(|judged| !is_complete(judged)).map(|judged| since(judged)).max();
        let delay = delay.unwrap_or_default();
        let later = inside.iter().filter(|judged| since(judged) > SOON).count();
        println!("load {number}: stacks truncated for {:.1} ms", delay.as_secs_f64() * 1e3);
        assert!(later > 10, "load {number}: {later} samples prove nothing");
        largest = largest.max(delay);
        slow += usize::from(delay > SOON);
    }
    println!("at most {:.1} ms", largest.as_secs_f64() * 1e3);
    assert!(loads.len() >= 12, "{} loads prove nothing", loads.len());
    // One stall of a busy machine is none of ours.
    assert!(slow <= 1, "{slow} of {} loads: stacks truncated for longer than {SOON:?}", loads.len());
}
