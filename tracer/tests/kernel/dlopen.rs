//! Libraries that come and go while a program runs: no stack is ever wrong, though another library may stand where one was.

use tracer_ebpf::abi::sample::WalkStatus;

use crate::{
    comparison::{Report, Verdict},
    programs::{Build, Compiler, Program, Shim},
    recording::{ONLY_KEYED, alone, record, request},
    truth::TruthFile,
};

const PROGRAM: Build = Build::new(Compiler::Gcc, "dl_loop.c", &["-O2"]);
/// The same code with frames of another size.
const PLUGINS: [Build; 2] = [
    Build::new(Compiler::Gcc, "plugin.c", &["-O2", "-fPIC", "-shared", "-DFRAME=200"]),
    Build::new(Compiler::Gcc, "plugin.c", &["-O2", "-fPIC", "-shared", "-DFRAME=3000"]),
];

/// One load of a library, as the program says it.
struct Load {
    library: u64,
    address: u64,
    /// CLOCK_MONOTONIC in nanoseconds: dlopen had returned; dlclose was called.
    opened: u64,
    closed: u64,
}

fn run(loads: &str, milliseconds: &str) -> (Report, Vec<Load>) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = TruthFile::create(directory.path(), 256 << 20);
    let plugins = PLUGINS.map(|plugin| plugin.compile().to_string_lossy().into_owned());
    let arguments = [&plugins[0], &plugins[1], loads, milliseconds];
    let mut program = Program::start(&PROGRAM.compile(), &arguments, Some((file.path(), Shim::Separate)));
    let (recording, said) = record(program.pid(), request(ONLY_KEYED), || {
        file.enable(true);
        program.go();
        let said = program.line();
        file.enable(false);
        said
    });
    program.finish();
    let loads: Vec<[u64; 4]> = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let loads: Vec<_> =
        loads.into_iter().map(|[library, address, opened, closed]| Load { library, address, opened, closed }).collect();
    let reused = loads.windows(2).filter(|w| w[0].address == w[1].address && w[0].library != w[1].library).count();
    let report = Report::new(&recording, &file.read());
    println!("{} loads, {reused} where the other library was: {report}", loads.len());
    assert!(reused > 0, "no library was loaded where the other one had been: this proves nothing");
    assert!(report.is_sound(), "{report}");
    (report, loads)
}

#[test]
fn no_stack_is_wrong_while_libraries_change_fast() {
    let Some(_guard) = alone() else { return };
    // About half a minute.
    let (report, _) = run("13000", "0");
    assert!(report.samples > 5000, "{report}");
}

#[test]
fn stacks_are_complete_soon_after_dlopen() {
    let Some(_guard) = alone() else { return };
    let (report, loads) = run("12", "400");
    let mut slowest = 0;
    for (number, load) in loads.iter().enumerate() {
        let inside: Vec<_> = report.judged.iter().filter(|j| (load.opened..load.closed).contains(&j.time_ns)).collect();
        let (late, early): (Vec<_>, Vec<_>) =
            inside.into_iter().partition(|judged| judged.time_ns > load.opened + (load.closed - load.opened) / 2);
        let truncated = |judged: &&&crate::comparison::Judged| judged.verdict == Verdict::CorrectPrefix;
        let last_truncated = early.iter().filter(truncated).map(|judged| judged.time_ns).max();
        let delay = last_truncated.map_or(0, |time| time - load.opened);
        slowest = slowest.max(delay);
        println!("load {number}: stacks truncated for {:.1} ms", delay as f64 / 1e6);
        assert!(late.len() > 10, "load {number}: {} samples prove nothing", late.len());
        let incomplete =
            late.iter().filter(|j| j.verdict != Verdict::Exact || j.status != WalkStatus::Complete).count();
        assert_eq!(incomplete, 0, "load {number}: stacks are still not complete after half of the time");
    }
    println!("at most {:.1} ms", slowest as f64 / 1e6);
}
