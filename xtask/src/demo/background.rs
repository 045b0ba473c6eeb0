//! A program that runs beside us and never outlives us.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::{
    sys::{
        prctl,
        signal::{self, SigHandler, Signal},
    },
    unistd::Pid,
};

const POLL: Duration = Duration::from_millis(20);
/// How long a program may take to end after it was asked to.
const PATIENCE: Duration = Duration::from_secs(10);

/// A child with its output in a file. Dropping it kills it; so does our own death, however we die.
pub struct Background {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Background {
    /// Starts `command` in a process group of its own (a Ctrl-C at the terminal is ours to handle), its output going
    /// to `log`. To be called on the main thread: the kernel ties the child to the thread that starts it.
    ///
    /// # Errors
    /// When the log cannot be written or the program not started.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = output.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(std::process::Stdio::null()).stdout(output).stderr(errors).process_group(0);
        die_with_parent(command);
        let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    ///
    /// # Errors
    /// When its log has gone.
    pub fn output(&self) -> anyhow::Result<String> {
        let bytes = fs::read(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Fails when it has ended, with what it wrote.
    ///
    /// # Errors
    /// That is the point.
    pub fn expect_running(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))? {
            None => Ok(()),
            Some(status) => bail!("{} ended too early ({status}); it wrote:\n{}", self.name, self.output()?),
        }
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it fails, with what it wrote.
    pub fn wait(mut self) -> anyhow::Result<()> {
        let status = self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        if !status.success() {
            bail!("{} failed ({status}); it wrote:\n{}", self.name, self.output()?);
        }
        Ok(())
    }

    /// Asks it to end (as Ctrl-C does), waits, and kills it when it does not; returns what it wrote.
    ///
    /// # Errors
    /// When its log has gone.
    pub fn stop(mut self) -> anyhow::Result<String> {
        // Not reaped yet, so the id is still its own.
        if let (Ok(None), Ok(id)) = (self.child.try_wait(), i32::try_from(self.child.id())) {
            signal::kill(Pid::from_raw(id), Signal::SIGINT).ok();
            if wait(&mut self.child, PATIENCE).is_none() {
                eprintln!("{} did not end in {} s and was killed", self.name, PATIENCE.as_secs());
            }
        }
        self.output()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Has the kernel kill the child when the thread that started it ends (`PR_SET_PDEATHSIG` in prctl(2)), and Ctrl-C end it before: where
/// we run in the background of a shell without job control, SIGINT is ignored, which a child would inherit.
pub fn die_with_parent(command: &mut Command) {
    let set = || {
        // SAFETY: no handler of ours is replaced: there is none.
        unsafe { signal::signal(Signal::SIGINT, SigHandler::SigDfl) }?;
        prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)
    };
    // SAFETY: runs between fork and exec; it makes two system calls, and neither allocates nor takes a lock.
    unsafe { command.pre_exec(set) };
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        thread::sleep(POLL);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, directory: &Path) -> Background {
        Background::start(Command::new("sh").args(["-c", script]), &directory.join("log")).unwrap()
    }

    fn exists(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn dropping_kills() {
        let directory = tempfile::tempdir().unwrap();
        let child = start("sleep 1000", directory.path());
        let pid = child.pid();
        assert!(exists(pid));
        drop(child);
        assert!(!exists(pid));
    }

    #[test]
    fn stopping_lets_it_say_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = start("trap 'echo bye; exit' INT; echo ready; while :; do sleep 0.01; done", directory.path());
        while child.output().unwrap().is_empty() {
            child.expect_running().unwrap();
            thread::sleep(POLL);
        }
        let pid = child.pid();
        assert_eq!(child.stop().unwrap(), "ready\nbye\n");
        assert!(!exists(pid));
    }

    #[test]
    fn early_end_shows_what_it_wrote() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = start("echo no such option >&2; exit 2", directory.path());
        let error = loop {
            match child.expect_running() {
                Ok(()) => thread::sleep(POLL),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("no such option") && error.contains("exit status: 2"), "{error}");
    }

    /// Says the process id of its child: for the test below, which runs it in a process of its own.
    #[test]
    #[ignore = "runs until it is killed"]
    fn starts_a_child_and_waits() {
        let directory = tempfile::tempdir().unwrap();
        let child = start("exec sleep 1000", directory.path());
        // libtest may have begun a line.
        eprintln!("\nchild {}", child.pid());
        loop {
            thread::park();
        }
    }

    #[test]
    fn our_death_kills_the_child() {
        let directory = tempfile::tempdir().unwrap();
        let name = format!("{}::starts_a_child_and_waits", module_path!().split_once("::").unwrap().1);
        let mut ours = Command::new(std::env::current_exe().unwrap());
        ours.args(["--exact", &name, "--ignored", "--nocapture"]);
        let mut parent = Background::start(&mut ours, &directory.path().join("log")).unwrap();
        let start = Instant::now();
        let child: u32 = loop {
            parent.expect_running().unwrap();
            let output = parent.output().unwrap();
            assert!(start.elapsed() < PATIENCE, "{output}");
            let said = output.split_inclusive('\n').find_map(|line| line.strip_prefix("child ")?.strip_suffix('\n'));
            if let Some(pid) = said {
                break pid.parse().unwrap();
            }
            thread::sleep(POLL);
        };
        assert!(runs(child));
        // SIGKILL: it can do nothing about its child.
        drop(parent);
        let start = Instant::now();
        while runs(child) {
            assert!(start.elapsed() < PATIENCE, "{child} outlives who started it");
            thread::sleep(POLL);
        }
    }

    /// Whether a process is there and has not ended: who inherits it may take its time to collect it.
    fn runs(pid: u32) -> bool {
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        status.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
    }
}
