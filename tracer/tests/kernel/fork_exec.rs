//! Children and other programs: what belongs to the recording is in it, what does not is not, and nothing of those that have ended
//! stays.

use std::{collections::BTreeMap, time::Duration};

use tracer::record::{raw::RawRecording, request::Request};
use tracer_ebpf::abi::{process::MAX_PROCESSES, sample::WalkStatus};

use crate::{
    names::ProgramNames,
    programs::{Build, Compiler, Program},
    recording::{EVERY, alone, record_and_inspect, request},
};

const PROGRAM: Build = Build::new(Compiler::Gcc, "fork_storm.c", &["-O2"]);
/// More than the kernel side has room for at a time.
const CHILDREN: u64 = 1200;
const _: () = assert!(CHILDREN > MAX_PROCESSES as u64);
const EXECS: u64 = 20;
/// Sizes that the program allocates, each from one function.
const SITES: [(u64, &str); 4] = [(1001, "before_fork"), (1002, "after_fork"), (2000, "in_child"), (3000, "after_exec")];

fn run(request: Request, children: u64, execs: u64) -> RawRecording {
    let path = PROGRAM.compile();
    let mut program = Program::start(&path, &[&children.to_string(), &execs.to_string()], None);
    let pid = program.pid();
    let act = || {
        program.go();
        assert_eq!(program.line(), "done");
        // Time for tracer to read the mappings of the program that runs now. It needs milliseconds.
        std::thread::sleep(Duration::from_secs(1));
        program.go();
        assert_eq!(program.line(), "end");
    };
    let (recording, ()) = record_and_inspect(&[pid], request, act, |session| {
        assert_eq!(session.followed().expect("the map can be read"), [pid]);
        assert_eq!(session.watched().expect("the map can be read"), [pid]);
    });
    program.finish();
    assert_eq!(recording.losses.processes, 0);
    recording
}

/// Samples by size: how many, and how many of these have the one right stack, complete. A stack that has a wrong function in the
/// place of the right one, or says that it is complete and has none, fails the test.
fn by_size(recording: &RawRecording) -> BTreeMap<u64, (u64, u64)> {
    let mut names = ProgramNames::new(recording, &PROGRAM.compile());
    let mut counts = BTreeMap::new();
    for sample in &recording.parts.samples {
        let Some((_, site)) = SITES.iter().find(|(size, _)| *size == sample.size) else { continue };
        let stack = &recording.parts.stacks[sample.stack as usize];
        let names: Vec<String> = names.of_stack(stack).collect();
        let is_complete = stack.status == WalkStatus::Complete;
        assert!(names.first().map_or(!is_complete, |first| first == site), "{}: {names:?} {stack:?}", sample.size);
        assert!(!is_complete || names.iter().any(|name| name == "main"), "{}: {names:?} {stack:?}", sample.size);
        let count: &mut (u64, u64) = counts.entry(sample.size).or_default();
        count.0 += 1;
        count.1 += u64::from(is_complete);
    }
    println!("{counts:?}, lost {:?}", recording.losses);
    assert_eq!(recording.losses.samples(), 0);
    counts
}

#[test]
fn children_are_left_out_unless_asked_for() {
    let Some(_guard) = alone() else { return };
    let counts = by_size(&run(request(EVERY), CHILDREN, 0));
    let expected = BTreeMap::from([(1001, (CHILDREN, CHILDREN)), (1002, (CHILDREN, CHILDREN)), (3000, (1, 1))]);
    assert_eq!(counts, expected);
}

#[test]
fn children_are_traced_when_asked_for() {
    let Some(_guard) = alone() else { return };
    let counts = by_size(&run(Request { children: true, ..request(EVERY) }, CHILDREN, 0));
    let all = |calls| (calls, calls);
    let expected =
        BTreeMap::from([(1001, all(CHILDREN)), (1002, all(CHILDREN)), (2000, all(5 * CHILDREN)), (3000, (1, 1))]);
    assert_eq!(counts, expected);
}

#[test]
fn a_program_that_replaces_itself_stays_traced() {
    let Some(_guard) = alone() else { return };
    for children in [false, true] {
        let recording = run(Request { children, ..request(EVERY) }, 0, EXECS);
        let counts = by_size(&recording);
        // Right after exec stacks may be cut short: nothing is known of the new program yet.
        assert_eq!(counts[&3000].0, EXECS + 1, "children: {children}");
        let last = recording.parts.samples.iter().rfind(|sample| sample.size == 3000).expect("it was counted");
        assert_eq!(recording.parts.stacks[last.stack as usize].status, WalkStatus::Complete, "children: {children}");
    }
}
