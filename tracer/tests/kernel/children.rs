//! A shell that runs one short program after the other: each is in the recording, and nothing of them stays behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tracer::record::{request::Request, session::Session};

use crate::{
    matrix::program::Program,
    programs::{Build, Compiler},
    recording::{EVERY, alone, record_and_inspect, request},
};

const SHORT: Build = Build::new(Compiler::Gcc, "short.c", &["-O2"]);
const PROGRAMS: u64 = 200;
/// Sizes that nothing else asks for.
const FIRST_SIZE: u64 = 1_234_001;

#[test]
fn every_short_program_is_recorded_and_nothing_stays() {
    let Some(_guard) = alone() else { return };
    let before = descriptors();
    let mut shell = Command::new("/bin/sh");
    let last = FIRST_SIZE + PROGRAMS - 1;
    let script = format!(
        "echo ready; read line; for size in $(seq {FIRST_SIZE} {last}); do \"$0\" $size; done; echo done; read line"
    );
    let mut program = Program::start(shell.arg("-c").arg(script).arg(SHORT.compile()));
    let pid = program.pid();
    let mut ours = BTreeSet::new();
    let act = || {
        program.work();
        // For the events of the last ones to arrive.
        std::thread::sleep(Duration::from_millis(500));
    };
    let inspect = |session: &Session| {
        ours = program_ids();
        assert!(!ours.is_empty());
        let followed = session.followed().expect("the map can be read");
        assert_eq!(followed, [pid], "only the shell is left");
    };
    let (recording, ()) = record_and_inspect(&[pid], Request { children: true, ..request(EVERY) }, act, inspect);
    assert_eq!(recording.losses.samples() + recording.losses.processes + recording.losses.events, 0);
    let mut processes: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for sample in recording.parts.samples.iter().filter(|sample| (FIRST_SIZE..=last).contains(&sample.size)) {
        processes.entry(sample.size).or_default().push(sample.process);
    }
    assert_eq!(processes.len() as u64, PROGRAMS, "programs that were recorded");
    assert!(processes.values().all(|of_size| of_size.len() == 1), "{processes:?}");
    let distinct: BTreeSet<u32> = processes.into_values().flatten().collect();
    assert_eq!(distinct.len() as u64, PROGRAMS, "processes");
    program.end();
    drop((program, recording));
    assert_eq!(descriptors(), before, "open files");
    assert_gone(&ours);
}

#[test]
fn children_that_are_not_traced_are_counted() {
    let Some(_guard) = alone() else { return };
    let mut shell = Command::new("/bin/sh");
    let script = "echo ready; read line; for i in 1 2 3; do \"$0\" $i; done; echo done; read line";
    let mut program = Program::start(shell.arg("-c").arg(script).arg(SHORT.compile()));
    let pid = program.pid();
    let (recording, _) = record_and_inspect(&[pid], request(EVERY), || program.work(), |_| {});
    program.end();
    let note = "3 processes that it made are not in this recording: --children traces them too";
    assert!(recording.notes.iter().any(|said| said == note), "{:?}", recording.notes);
}

/// Where this process's descriptors lead. The socket pair for signals is tokio's, one for the life of a process.
fn descriptors() -> Vec<String> {
    let links = fs::read_dir("/proc/self/fd").expect("it is there").flatten();
    let mut targets: Vec<String> = links
        .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        .filter(|target| !target.starts_with("/proc/") && !target.starts_with("socket:"))
        .collect();
    targets.sort_unstable();
    targets
}

/// Ids of the BPF programs that this process holds: bpf(2), and `bpf_prog_show_fdinfo` in kernel/bpf/syscall.c.
fn program_ids() -> BTreeSet<u32> {
    let infos = fs::read_dir("/proc/self/fdinfo").expect("it is there").flatten();
    let id = |path: &Path| {
        let text = fs::read_to_string(path).ok()?;
        text.lines().find_map(|line| line.strip_prefix("prog_id:"))?.trim().parse().ok()
    };
    infos.filter_map(|entry| id(&entry.path())).collect()
}

/// The kernel frees programs a little after the last reference is gone.
fn assert_gone(ours: &BTreeSet<u32>) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let loaded: BTreeSet<u32> = aya::programs::loaded_programs().flatten().map(|info| info.id()).collect();
        let left: Vec<&u32> = ours.intersection(&loaded).collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "BPF programs are still there: {left:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
