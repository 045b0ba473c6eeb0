//! Run-time systems that compile: stacks through their code are whole, and named by the perf maps that they write.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tracer::{
    record::assemble::assemble,
    recording::{Recording, StackEnd},
};

use crate::{
    matrix::{
        comparison::stack_names,
        program::{BUILT, Program, build},
    },
    programs::source,
    recording::{EVERY, alone, record, request},
};

/// What the programs ask for, again and again: whole words, to which the JVM rounds.
const SIZE: u64 = 1_234_568;

/// Whether a command is there. CI has all of them.
fn is_installed(command: &str) -> bool {
    let is_there = Command::new(command).arg("--version").output().is_ok();
    if !is_there {
        assert!(std::env::var_os("CI").is_none(), "no {command}: cargo xtask setup installs it");
        eprintln!("skipped: no {command}; cargo xtask setup installs it");
    }
    is_there
}

/// The map is not the program's to remove.
struct PerfMap(PathBuf);

impl Drop for PerfMap {
    fn drop(&mut self) {
        // Where it is not there, the test says so.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Records all allocations; `before_end` is called before the program may end.
fn run(command: &mut Command, before_end: impl FnOnce(u32)) -> Recording {
    let mut program = Program::start(command);
    let pid = program.pid();
    let _map = PerfMap(PathBuf::from(format!("/tmp/perf-{pid}.map")));
    let (raw, ()) = record(pid, request(EVERY), || {
        program.go();
        assert_eq!(program.line(), "done");
    });
    before_end(pid);
    program.end();
    assert_eq!(raw.losses.samples(), 0);
    assemble(raw)
}

/// Names of the whole stacks of the size, of each sample. At least this share of all is whole.
fn whole(recording: &Recording, at_least: f64) -> Vec<Vec<&str>> {
    let names = stack_names(recording);
    let samples: Vec<_> = recording.samples.iter().filter(|sample| sample.size == SIZE).collect();
    let is_whole = |stack: u32| recording.stacks[stack as usize].end == StackEnd::Complete;
    let whole: Vec<_> = samples.iter().filter(|sample| is_whole(sample.stack)).collect();
    println!("{} of {} stacks are whole", whole.len(), samples.len());
    for sample in samples.iter().filter(|sample| !is_whole(sample.stack)).take(3) {
        println!("{:?}: {:#?}", recording.stacks[sample.stack as usize].end, names[sample.stack as usize]);
    }
    assert!(samples.len() >= 2000, "{}", samples.len());
    assert!(whole.len() as f64 >= at_least * samples.len() as f64, "{} of {}", whole.len(), samples.len());
    whole.iter().map(|sample| names[sample.stack as usize].clone()).collect()
}

/// Node's program with names for what V8 compiles.
fn check_node(node: &Path) {
    // The second option makes it write a log too, where it is.
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut command = Command::new(node);
    // What is not compiled yet runs in a copy of the interpreter that has the function's name.
    command.args(["--perf-basic-prof", "--interpreted-frames-native-stack"]).arg(source("runtimes/allocate.js"));
    command.current_dir(&directory);
    let recording = run(&mut command, |_| {});
    let whole = whole(&recording, 0.99);
    println!("{:#?}", whole[whole.len() / 2]);
    for names in whole {
        // V8 may inline one into the other.
        let is_ours = |name: &&str| name.starts_with("JS:") && name.contains("allocate.js");
        assert!(names.iter().any(is_ours), "{names:#?}");
        assert!(!names.iter().any(|name| name.contains("[unknown]")), "{names:#?}");
    }
    assert!(recording.about.unwinding.assisted > 0);
}

#[test]
fn node_with_its_perf_map() {
    let Some(_guard) = alone() else { return };
    if is_installed("node") {
        check_node(Path::new("node"));
    }
}

/// V8's own functions have no names then.
#[test]
fn node_without_symbols() {
    let Some(_guard) = alone() else { return };
    if !is_installed("node") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let stripped = directory.path().join("node");
    let path = Command::new("node").args(["-p", "process.execPath"]).output().expect("it is installed");
    build(Command::new("strip").arg("-o").arg(&stripped).arg(String::from_utf8_lossy(&path.stdout).trim()));
    check_node(&stripped);
}

/// The Java program; `None` where Java is not installed.
fn java(options: &[&str]) -> Option<Command> {
    if !["java", "javac", "jcmd"].into_iter().all(is_installed) {
        return None;
    }
    let classes = Path::new(BUILT).join("java");
    build(Command::new("javac").args(["-nowarn", "-d"]).arg(&classes).arg(source("runtimes/Allocate.java")));
    let mut command = Command::new("java");
    command.args(options).args(["-XX:CompileCommand=quiet", "-XX:CompileCommand=dontinline,Allocate::*"]);
    command.arg("-cp").arg(&classes).arg("Allocate");
    Some(command)
}

#[test]
fn java_with_frame_pointers_and_a_perf_map() {
    let Some(_guard) = alone() else { return };
    let Some(mut command) = java(&["-XX:+PreserveFramePointer"]) else { return };
    let write_map = |pid: u32| build(Command::new("jcmd").args([&pid.to_string(), "Compiler.perfmap"]));
    let recording = run(&mut command, write_map);
    let whole = whole(&recording, 0.99);
    println!("{:#?}", whole[whole.len() / 2]);
    for names in whole {
        let at = |method: &str| names.iter().position(|name| name.contains(method));
        let (leaf, caller) = (at("Allocate.leafWork("), at("Allocate.tick("));
        assert!(leaf.is_some() && caller.is_some() && leaf < caller, "{names:#?}");
        assert!(!names.iter().any(|name| name.contains("[unknown]")), "{names:#?}");
    }
    assert!(recording.about.unwinding.assisted > 0);
}

/// What cannot be known is never shown as certain.
#[test]
fn java_without_frame_pointers() {
    let Some(_guard) = alone() else { return };
    let Some(mut command) = java(&["-XX:-PreserveFramePointer"]) else { return };
    let recording = run(&mut command, |_| {});
    let ours = recording.samples.iter().filter(|sample| sample.size == SIZE);
    let stacks: Vec<_> = ours.map(|sample| &recording.stacks[sample.stack as usize]).collect();
    let stopped = stacks.iter().filter(|stack| stack.end != StackEnd::Complete).count();
    println!("{stopped} of {} stacks stop", stacks.len());
    assert!(stopped > 0, "the JVM keeps frame pointers all the same: this proves nothing");
    for stack in stacks {
        assert!(stack.end != StackEnd::Complete || stack.frame_pointer_frames > 0, "{stack:?}");
    }
    for truncation in &recording.about.unwinding.truncated {
        assert!(truncation.hint.contains("-XX:+PreserveFramePointer"), "{truncation:?}");
    }
}
