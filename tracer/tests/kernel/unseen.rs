//! Mappings that come unseen: their event is lost, or the kernel makes none. Stacks through them are complete soon all the same.

use std::{
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tracer::record::{raw::RawRecording, request::Request};
use tracer_ebpf::abi::{process::RECENT_RANGES, sample::WalkStatus};

use crate::{
    names::ProgramNames,
    programs::{Build, Compiler, Program},
    recording::{EVERY, alone, record, record_with, request},
};

const PROGRAM: Build = Build::new(Compiler::Gcc, "unseen.c", &["-O2"]);
const PLUGIN: Build = Build::new(Compiler::Gcc, "plugin.c", &["-O2", "-fPIC", "-shared", "-DFRAME=200"]);
/// As many as the kernel side remembers of those that were not read yet: beyond, it distrusts what it has.
const LIBRARIES: usize = RECENT_RANGES;
const CALLS: usize = 100;

/// How the stacks of the samples of one size end, in the order of time. Of those that are complete, `function` is the program's first.
fn ends(recording: &RawRecording, size: u64, function: &str) -> Vec<WalkStatus> {
    let mut names = ProgramNames::new(recording, &PROGRAM.compile());
    let mut samples: Vec<_> = recording.parts.samples.iter().filter(|sample| sample.size == size).collect();
    samples.sort_by_key(|sample| sample.time_ns);
    let ends = samples.into_iter().map(|sample| {
        let stack = &recording.parts.stacks[sample.stack as usize];
        let is_complete = stack.status == WalkStatus::Complete;
        assert!(!is_complete || names.of_stack(stack).next().as_deref() == Some(function), "{stack:?}");
        stack.status
    });
    ends.collect()
}

#[test]
fn libraries_whose_events_were_lost_are_found() {
    let Some(_guard) = alone() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let plugin = PLUGIN.compile();
    let copies = (0..LIBRARIES).map(|number| {
        let copy = directory.path().join(format!("plugin{number}.so"));
        fs::copy(&plugin, &copy).expect("it can be copied");
        copy.to_str().expect("a path of text").to_owned()
    });
    let arguments: Vec<String> = std::iter::once("libraries".to_owned()).chain(copies).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut program = Program::start(&PROGRAM.compile(), &arguments, None);
    // A page: about ten samples.
    let tiny = Request { ring_bytes: 4096, ..request(EVERY) };
    let (hold, is_held) = (Mutex::new(()), AtomicBool::new(false));
    let looked = || {
        is_held.store(hold.try_lock().is_err(), Ordering::Relaxed);
        drop(hold.lock());
    };
    let pid = program.pid();
    let act = || {
        // Nobody reads while the ring is filled and the libraries are loaded.
        let held = hold.lock();
        while !is_held.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        program.go();
        assert_eq!(program.line(), "done");
        drop(held);
        // tracer looks for losses every 100 ms.
        thread::sleep(Duration::from_secs(1));
        program.go();
        assert_eq!(program.line(), "done");
    };
    let (recording, ()) = record_with(&[pid], tiny, act, looked, |_| {});
    program.finish();
    assert!(recording.losses.events as usize >= LIBRARIES, "an event was not lost: this proves nothing");
    // Not by the samples themselves, of which the first would be cut short.
    assert_eq!(ends(&recording, 100, "in_library"), [WalkStatus::Complete; 10 * LIBRARIES]);
}

#[test]
fn code_that_no_event_tells_of_is_found_by_the_walks() {
    let Some(_guard) = alone() else { return };
    let mut program = Program::start(&PROGRAM.compile(), &["page", &CALLS.to_string()], None);
    let (recording, ()) = record(program.pid(), request(EVERY), || {
        program.go();
        assert_eq!(program.line(), "done");
    });
    program.finish();
    let ends = ends(&recording, 1001, "allocate");
    println!("{ends:?}");
    assert_eq!(ends.len(), CALLS);
    assert_eq!(ends[0], WalkStatus::NoMapping, "it was seen: this proves nothing");
    assert_eq!(ends[CALLS / 2..], [WalkStatus::Complete; CALLS / 2]);
}

#[test]
fn pkey_mprotect_is_seen() {
    let Some(_guard) = alone() else { return };
    let mut program = Program::start(&PROGRAM.compile(), &["key", &CALLS.to_string()], None);
    let (recording, ()) = record(program.pid(), request(EVERY), || {
        program.go();
        assert_eq!(program.line(), "done");
        // For tracer to read the mappings. It needs milliseconds.
        thread::sleep(Duration::from_secs(1));
        program.go();
        assert_eq!(program.line(), "done");
    });
    program.finish();
    assert_eq!(ends(&recording, 1001, "allocate"), [WalkStatus::Complete; CALLS]);
}
