//! How a recording by the command `tracer` ends: by signals, with its target, with a reader that goes; and what is written then.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tracer::recording::{Recording, about::Ended, pprof};

use crate::{
    programs::{Build, Compiler, Program},
    recording::alone,
};

/// What it allocates is known, and it does so when it is told to.
const PROGRAM: Build = Build::new(Compiler::Gcc, "allocate.c", &["-O2"]);

/// A recording under way, in a folder of its own. Killed when dropped.
pub struct Run {
    pub child: Child,
    pub folder: TempDir,
    messages: BufReader<ChildStderr>,
    said: String,
}

impl Run {
    /// Of a process; counting has begun when this returns.
    pub fn start(pid: u32, arguments: &str) -> Self {
        Self::start_with(pid, arguments, |_| {})
    }

    /// The same, prepared.
    pub fn start_with(pid: u32, arguments: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
        command.current_dir(&folder).env_remove("SUDO_UID").env_remove("SUDO_GID");
        command.args(["--pid", &pid.to_string()]).args(arguments.split_whitespace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        prepare(&mut command);
        let mut child = command.spawn().expect("tracer starts");
        let messages = BufReader::new(child.stderr.take().expect("it is a pipe"));
        let mut run = Self { child, folder, messages, said: String::new() };
        while !run.said.contains("recording ") {
            let length = run.messages.read_line(&mut run.said).expect("messages are text");
            assert!(length > 0, "tracer ended: {}", run.said);
        }
        run
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("tracer runs");
    }

    /// Waits for its end: the exit code, and all it said.
    pub fn wait(&mut self) -> (Option<i32>, String) {
        self.messages.read_to_string(&mut self.said).expect("messages are text");
        let status = self.child.wait().expect("tracer can be waited for");
        (status.code(), self.said.clone())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The recording that was written without being given a name.
    pub fn recording(&self, pid: u32) -> Recording {
        let file = File::open(self.path(&format!("tracer-{pid}.pb.gz"))).expect("the recording was written");
        pprof::read(file, &pprof::Limits::default()).expect("a whole recording")
    }

    /// The flame graph beside it.
    pub fn picture(&self, pid: u32) -> String {
        fs::read_to_string(self.path(&format!("tracer-{pid}.svg"))).expect("the flame graph was written")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Fails where it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn started() -> Program {
    Program::start(&PROGRAM.compile(), &["1", "2", "1"], None)
}

/// Lets the program allocate.
fn allocate(program: &mut Program) {
    program.go();
    program.line();
}

#[test]
fn sigterm_writes_as_ctrl_c_does() {
    let Some(_guard) = alone() else { return };
    for signal in [Signal::INT, Signal::TERM] {
        let mut program = started();
        let pid = program.pid();
        let mut run = Run::start(pid, "--interval 1");
        allocate(&mut program);
        run.signal(signal);
        let (code, said) = run.wait();
        program.finish();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(", interrupted\n") && said.contains("lost      nothing\n"), "{said}");
        let recording = run.recording(pid);
        assert_eq!(recording.about.ended, Ended::Interrupted);
        assert!(!recording.samples.is_empty());
        assert!(run.picture(pid).contains(&format!("(pid {pid})")));
        assert_eq!(fs::read_dir(&run.folder).unwrap().count(), 2);
    }
}

#[test]
fn a_target_that_ends_early_leaves_an_incomplete_recording() {
    let Some(_guard) = alone() else { return };
    for (arguments, expected) in [("--interval 1 --duration 600s", 3), ("--interval 1", 0)] {
        let mut program = started();
        let pid = program.pid();
        let mut run = Run::start(pid, arguments);
        allocate(&mut program);
        program.finish();
        let (code, said) = run.wait();
        assert_eq!(code, Some(expected), "{said}");
        assert!(said.contains(", until it ended\n"), "{said}");
        assert!(said.contains(&format!("wrote     tracer-{pid}.svg\n")), "{said}");
        let recording = run.recording(pid);
        assert_eq!(recording.about.ended, Ended::TargetExited);
        assert!(!recording.samples.is_empty() && !run.picture(pid).is_empty());
    }
}

#[test]
fn stdout_has_folded_stacks_and_nothing_else() {
    let Some(_guard) = alone() else { return };
    let mut program = started();
    let mut run = Run::start(program.pid(), "--interval 1 -o - -o same.folded");
    allocate(&mut program);
    run.signal(Signal::INT);
    let mut stdout = String::new();
    run.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    let (code, said) = run.wait();
    program.finish();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("recorded  "), "the summary goes to stderr: {said}");
    assert_eq!(stdout, fs::read_to_string(run.path("same.folded")).unwrap());
    assert!(stdout.contains(";one_round;"), "{stdout}");
    for line in stdout.lines() {
        let (stack, bytes) = line.rsplit_once(' ').unwrap();
        assert!(!stack.is_empty() && bytes.parse::<u64>().is_ok(), "{line}");
    }
}

/// As `tracer -o - | head -1`, whose reader has gone when the stacks come.
#[test]
fn a_reader_that_goes_is_no_failure() {
    let Some(_guard) = alone() else { return };
    let mut program = started();
    let mut run = Run::start(program.pid(), "--interval 1 -o - -o x.folded");
    allocate(&mut program);
    drop(run.child.stdout.take());
    run.signal(Signal::INT);
    let (code, said) = run.wait();
    program.finish();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("recorded  "), "{said}");
    assert!(!fs::read(run.path("x.folded")).unwrap().is_empty(), "what comes behind it is written");
}
