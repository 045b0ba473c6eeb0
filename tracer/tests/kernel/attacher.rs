//! The process that holds the probes is ended: tracer says so, and keeps what it has.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    recording::alone,
    sigkill::{Code, LOOK, Tracer, wait_until},
    storm::Storm,
};

/// What the program allocates when its probes are gone.
const CALLS: u64 = 1 << 16;

/// That of a tracer.
fn attacher(tracer: u32) -> Option<Pid> {
    fs::read_dir(format!("/proc/{tracer}/task")).ok()?.flatten().find_map(|task| {
        let children = fs::read_to_string(task.path().join("children")).ok()?;
        children.split_ascii_whitespace().find_map(|child| {
            let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            Pid::from_raw(child.parse().ok()?).filter(|_| name.trim_end() == "tracer-attach")
        })
    })
}

fn has_thread(process: u32, name: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let mut names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.any(|of_thread| of_thread.trim_end() == name)
}

#[test]
fn a_recording_ends_with_the_process_that_holds_its_probes() {
    let Some(_guard) = alone() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut storm = Storm::of(1, CALLS);
    let code = Code::of(storm.pid());
    let mut tracer = Tracer::start(storm.pid(), &["--max-overhead", "none", "-o", "it.svg"], directory.path());
    wait_until("the recording begins", LOOK, || {
        tracer.assert_runs();
        has_thread(tracer.pid(), "windows")
    });
    assert!(code.changed() > 0);
    let attacher = attacher(tracer.pid()).expect("there is a process that holds the probes");
    kill_process(attacher, Signal::KILL).expect("it can be ended");
    // Recorded, but not as long as was asked for.
    assert_eq!(tracer.wait(), Some(3));
    assert!(directory.path().join("it.svg").exists());
    // The process that was ended is the one that lets go, and tracer does not wait for it.
    wait_until("the breakpoints go", LOOK, || code.changed() == 0);
    storm.go();
    assert_eq!(storm.stop().calls, CALLS);
    storm.finish();
}
