//! The command `tracer`, as a user runs it.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr, Command, Stdio},
};

use tempfile::TempDir;
use tracer::recording::{Recording, pprof};

/// A recording under way.
pub struct Tracer {
    child: Child,
    messages: BufReader<ChildStderr>,
    directory: TempDir,
}

impl Tracer {
    /// Attaches to a process, whatever that costs; counting has begun when this returns.
    pub fn start(pid: u32, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut child = Command::new(env!("CARGO_BIN_EXE_tracer"))
            .args(["--pid", &pid.to_string(), "--max-overhead", "none", "--output"])
            .arg(directory.path().join("recording.pb.gz"))
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("tracer starts");
        let mut messages = BufReader::new(child.stderr.take().expect("it is a pipe"));
        let mut before = String::new();
        loop {
            let start = before.len();
            let length = messages.read_line(&mut before).expect("messages are text");
            assert!(length > 0, "tracer ended: {before}");
            if before[start..].starts_with("recording ") {
                return Self { child, messages, directory };
            }
        }
    }

    /// Ends it as Ctrl-C does.
    pub fn interrupt(self) -> (Recording, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("tracer runs");
        self.wait()
    }

    /// Waits for its end: the recording and the summary.
    pub fn wait(mut self) -> (Recording, String) {
        let mut summary = String::new();
        self.messages.read_to_string(&mut summary).expect("messages are text");
        let status = self.child.wait().expect("a child of ours");
        assert!(status.success(), "{status}: {summary}");
        let file = std::fs::File::open(self.directory.path().join("recording.pb.gz")).expect("it was written");
        (pprof::read(file, &pprof::Limits::default()).expect("a whole recording"), summary)
    }
}
