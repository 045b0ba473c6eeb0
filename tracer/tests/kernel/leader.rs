//! A process is more than its main thread: what the others do when that has ended is in the recording.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    time::Duration,
};

use tracer::record::{raw::RawRecording, request::Request};
use tracer_ebpf::abi::sample::WalkStatus;

use crate::{
    names::ProgramNames,
    programs::{Build, Compiler, Program},
    recording::{EVERY, alone, record, request},
};

const PROGRAM: Build = Build::new(Compiler::Gcc, "leader.c", &["-O2"]);
const PLUGIN: Build = Build::new(Compiler::Gcc, "plugin.c", &["-O2", "-fPIC", "-shared", "-DFRAME=200"]);
const CALLS: u64 = 300;

/// Lets the program do its first part, then, when tracer has had time to read mappings and to attach, its second.
fn run(mode: &str, request: Request) -> RawRecording {
    let plugin = PLUGIN.compile();
    let arguments = [mode, &CALLS.to_string(), plugin.to_str().expect("a path of text")];
    let mut program = Program::start(&PROGRAM.compile(), &arguments, None);
    let (recording, ()) = record(program.pid(), request, || {
        program.go();
        assert_eq!(program.line(), "done");
        // It needs milliseconds.
        std::thread::sleep(Duration::from_secs(1));
        program.go();
        assert_eq!(program.line(), "done");
    });
    program.finish();
    assert_eq!(recording.losses.samples(), 0);
    recording
}

/// Samples by the function of the program that allocated: how many, and how many of their stacks are complete.
fn by_site(recording: &RawRecording) -> BTreeMap<String, (u64, u64)> {
    let mut names = ProgramNames::new(recording, &PROGRAM.compile());
    let mut counts = BTreeMap::new();
    for sample in recording.parts.samples.iter().filter(|sample| matches!(sample.size, 100 | 1001..=1004)) {
        let stack = &recording.parts.stacks[sample.stack as usize];
        let site = names.of_stack(stack).next().unwrap_or_else(|| sample.size.to_string());
        let count: &mut (u64, u64) = counts.entry(site).or_default();
        count.0 += 1;
        count.1 += u64::from(stack.status == WalkStatus::Complete);
    }
    println!("{counts:?}, lost {:?}", recording.losses);
    counts
}

fn all_complete(sites: &[&str]) -> BTreeMap<String, (u64, u64)> {
    sites.iter().map(|&site| (site.to_owned(), (CALLS, CALLS))).collect()
}

#[test]
fn threads_go_on_when_the_main_thread_has_ended() {
    let Some(_guard) = alone() else { return };
    for children in [false, true] {
        let recording = run("end", Request { children, ..request(EVERY) });
        assert_eq!(by_site(&recording), all_complete(&["before", "after", "in_plugin"]), "children: {children}");
    }
}

#[test]
fn a_thread_that_runs_another_program_stays_traced() {
    let Some(_guard) = alone() else { return };
    for children in [false, true] {
        let counts = by_site(&run("exec", Request { children, ..request(EVERY) }));
        assert_eq!(counts["before"], (CALLS, CALLS));
        assert_eq!(counts["later"], (CALLS, CALLS), "children: {children}");
        if children {
            // Nothing was missed: probes of all processes are in the new program from its first instruction on. Its first stacks may be
            // cut short.
            let at_once: u64 = counts
                .iter()
                .filter(|(site, _)| ["at_once", "1003"].contains(&site.as_str()))
                .map(|(_, count)| count.0)
                .sum();
            assert_eq!(at_once, CALLS);
        }
    }
}

/// `tracer` on a process, its messages on a pipe.
fn tracer(pid: u32, output: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.args(["--pid", &pid.to_string(), "--max-overhead", "2%", "--duration", "30s", "--output"]).arg(output);
    command.stderr(Stdio::piped());
    command
}

#[test]
fn windows_end_with_the_main_thread() {
    let Some(_guard) = alone() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = directory.path().join("recording.pb.gz");
    // A hundred thousand calls a second: probes must come and go.
    let mut program = Program::start(&PROGRAM.compile(), &["busy", "100"], None);
    let mut recording = tracer(program.pid(), &output).spawn().expect("tracer starts");
    let mut messages = BufReader::new(recording.stderr.take().expect("it is a pipe"));
    let mut text = String::new();
    while !text.contains("\nrecording ") && !text.starts_with("recording ") {
        assert!(messages.read_line(&mut text).expect("messages are text") > 0, "tracer ended: {text}");
    }
    program.go();
    // For windows to begin.
    std::thread::sleep(Duration::from_secs(1));
    program.go();
    assert_eq!(program.line(), "done");
    messages.read_to_string(&mut text).expect("messages are text");
    let status = recording.wait().expect("a child of ours");
    assert!(text.contains(", until its main thread had ended, through which"), "{text}");
    assert_eq!(status.code(), Some(3), "{text}");

    let refused = tracer(program.pid(), &directory.path().join("none.pb.gz")).output().expect("tracer starts");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("the main thread of process") && text.lines().count() == 1, "{text}");
    assert!(!refused.status.success());
    program.finish();
}
