//! A program in a container: its own root, where alone its files are, its own process ids. Recorded from the host, as one of two.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use object::Object as _;
use tempfile::TempDir;
use tracer::{
    record::assemble::assemble,
    recording::{Recording, StackEnd},
    target::Process,
};

use crate::{
    matrix::{comparison::stack_names, program},
    programs::{Build, Compiler, Program},
    recording::{EVERY, alone, record_and_inspect, request},
};

/// Allocates through code made at run time, which its own perf map names.
const PROGRAM: Build = Build::new(Compiler::Gcc, "jit.c", &["-O2"]);
const ALLOCATIONS: usize = 400;
/// What it asks for.
const SIZE: u64 = 1_234_567;

/// Runs a program in a root of its own: a copy of a folder, in memory that no other process sees.
const CONTAINER: &str = r#"
set -e
mount -t tmpfs none /mnt
cp -a "$1"/. /mnt/
mkdir /mnt/host
cd /mnt
pivot_root . host
exec "$0" "$2" named
"#;

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A root with the program, stripped, its libraries and its debug file.
fn root() -> TempDir {
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    let at = |path: &str| root.path().join(path);
    let original = PROGRAM.compile();
    let libraries = String::from_utf8(run(Command::new("ldd").arg(&original)).stdout).expect("paths are text");
    let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    run(Command::new("cp").args(["-L", "--parents"]).args(libraries).arg(root.path()));
    fs::create_dir(at("tmp")).expect("a folder can be made");
    run(Command::new("objcopy").arg("--strip-all").arg(&original).arg(at("program")));

    let bytes = fs::read(&original).expect("it was compiled");
    let file = object::File::parse(bytes.as_slice()).expect("an ELF file");
    let id: Vec<String> =
        file.build_id().ok().flatten().expect("it has one").iter().map(|b| format!("{b:02x}")).collect();
    let directory = at("usr/lib/debug/.build-id").join(&id[0]);
    fs::create_dir_all(&directory).expect("folders can be made");
    let debug = directory.join(format!("{}.debug", id[1..].concat()));
    run(Command::new("objcopy").arg("--only-keep-debug").arg(&original).arg(debug));
    root
}

/// The child of a process that has one.
fn child_of(process: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).expect("it runs");
    children.trim().parse().expect("one child")
}

/// Ends and names of the stacks of a process, in order of time.
fn stacks(recording: &Recording, process: u32) -> Vec<(&StackEnd, Vec<&str>)> {
    let names = stack_names(recording);
    let samples = recording.samples.iter().filter(|sample| sample.process == process && sample.size == SIZE);
    let stack = |number: usize| (&recording.stacks[number].end, names[number].clone());
    samples.map(|sample| stack(sample.stack as usize)).collect()
}

#[test]
fn stacks_in_a_container_are_whole_and_named() {
    let Some(_guard) = alone() else { return };
    let on_host = Program::start(&PROGRAM.compile(), &["0"], None);
    let root = root();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", CONTAINER, "/program"]);
    let mut contained = program::Program::start(command.arg(root.path()).arg(ALLOCATIONS.to_string()));
    // Nothing of it is left outside.
    drop(root);
    let pid = child_of(contained.pid());
    let process = Process::open(pid).expect("it runs");
    assert_ne!(process.namespace_pid, pid);
    assert_eq!(process.executable, Path::new("/program"));
    assert!(!Path::new("/program").exists());

    let pids = [on_host.pid(), pid];
    let (raw, ()) = record_and_inspect(
        &pids,
        request(EVERY),
        || {
            contained.go();
            assert_eq!(contained.line(), "done");
        },
        |_| {},
    );
    contained.end();
    drop(contained);
    while !process.has_ended() {
        std::thread::yield_now();
    }
    assert_eq!(raw.losses.samples(), 0);
    // By now neither the process nor its namespaces exist.
    let recording = assemble(raw);
    let stacks = stacks(&recording, pid);
    assert_eq!(stacks.len(), ALLOCATIONS);
    // Until the code made at run time is known; see jit.rs.
    let early = stacks.iter().take_while(|(end, _)| **end != StackEnd::Complete).count();
    assert!(early < ALLOCATIONS, "{:?}", stacks[0]);
    for (end, names) in &stacks[early..] {
        assert_eq!(**end, StackEnd::Complete, "{names:?}");
        let expected = ["malloc", "allocate_from_jit", "jit_inner", "jit_outer", "call_jit", "work", "main"];
        assert_eq!(names[..7], expected, "{names:?}");
    }
}
