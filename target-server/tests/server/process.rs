//! A running server.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub struct ServerProcess {
    child: Child,
    pub port: u16,
    directory: TempDir,
}

impl ServerProcess {
    /// Starts a server on a free port, and returns when it is up.
    pub fn start(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_target-server"))
            .args(["--port", "0", "--logPath"])
            .arg(directory.path().join("server.log"))
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("listening on ").expect(&line).parse().unwrap();
        Self { child, port, directory }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log_path(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }

    /// Asks the server to end, and gives the lines of its log.
    pub fn stop(mut self) -> Vec<Value> {
        assert_eq!(self.child.try_wait().unwrap(), None, "the server has ended by itself");
        let pid = i32::try_from(self.child.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        let log = std::fs::read_to_string(self.log_path()).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // A test that fails leaves no server behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
