//! A program that tracer starts: forked early, let go when everything is ready, stopped where it must wait.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, PipeWriter, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::{Child as Process, Command},
    sync::mpsc::{Receiver, channel},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program, searched for in `PATH`.
    pub name: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Who it runs as; `None` = as tracer does.
    pub user: Option<User>,
}

/// A user to start a program as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub user: u32,
    /// Group id.
    pub group: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// A started program. Dropping it lets it run on.
#[derive(Debug)]
pub struct Child {
    /// Process id.
    pub pid: u32,
    raw: Pid,
    gate: Option<PipeWriter>,
    started: Receiver<io::Result<()>>,
}

/// What a child did next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It was stopped.
    Stopped,
    /// It has ended.
    Ended,
}

impl Child {
    /// Forks. The child waits, as a copy of tracer, until [`Child::go`].
    ///
    /// # Errors
    /// What the kernel says.
    pub fn fork(program: &Program) -> io::Result<Self> {
        let (mut gate_reader, gate) = io::pipe()?;
        let (mut reported, mut report) = io::pipe()?;
        let mut command = Command::new(&program.name);
        command.args(&program.arguments);
        let (user, gate_fd) = (program.user.clone(), gate.as_raw_fd());
        let in_child = move || {
            if let Some(user) = &user {
                become_user(user)?;
            }
            // Were tracer killed while the child is stopped, it would stay so for ever. Credentials come first: changing
            // them clears this (prctl(2)).
            // SAFETY: integer arguments.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGCONT) };
            // SAFETY: the child's own copy, which nothing uses here; with it open the gate would never close.
            unsafe { libc::close(gate_fd) };
            report.write_all(&std::process::id().to_ne_bytes())?;
            if gate_reader.read_exact(&mut [0]).is_err() {
                // The gate was closed: tracer has given up, or is gone. An error would be reported to nobody.
                // SAFETY: ends this process, and nothing else.
                unsafe { libc::_exit(libc::EXIT_FAILURE) };
            }
            Ok(())
        };
        // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
        unsafe { command.pre_exec(in_child) };
        let (started_sender, started) = channel();
        // `spawn` returns after exec, and the signal above comes when the thread that forked ends: so this one stays.
        std::thread::Builder::new().name("child".to_owned()).spawn(move || {
            let spawned = command.spawn();
            // The command holds the child's ends of the pipes.
            drop(command);
            let (result, child) = match spawned {
                Ok(child) => (Ok(()), Some(child)),
                Err(error) => (Err(error), None),
            };
            // The receiver lives as long as anybody wants to know.
            let _ = started_sender.send(result);
            child.map(|mut child: Process| child.wait())
        })?;
        let mut pid = [0; 4];
        if reported.read_exact(&mut pid).is_err() {
            return Err(started.recv().ok().and_then(Result::err).unwrap_or(io::ErrorKind::UnexpectedEof.into()));
        }
        let pid = u32::from_ne_bytes(pid);
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { pid, raw, gate: Some(gate), started })
    }

    /// Lets it run the program.
    ///
    /// # Errors
    /// When it has ended.
    pub fn go(&mut self) -> io::Result<()> {
        self.gate.take().map_or(Ok(()), |mut gate| gate.write_all(&[1]))
    }

    /// Waits until it is stopped, or has ended.
    ///
    /// # Errors
    /// When there was no such program, or it could not be run.
    pub fn wait(&self) -> io::Result<Next> {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let next = match waitid(WaitId::Pid(self.raw), options) {
            Ok(Some(status)) if status.stopped() => {
                // This time the stop is taken note of; the end is left to the thread that waits for it.
                waitid(WaitId::Pid(self.raw), WaitIdOptions::STOPPED | WaitIdOptions::NOHANG)?;
                Next::Stopped
            }
            _ => Next::Ended,
        };
        match (next, self.started.try_recv()) {
            (_, Ok(Err(error))) => Err(error),
            // The thread may not have said yet why.
            (Next::Ended, Err(std::sync::mpsc::TryRecvError::Empty)) => match self.started.recv() {
                Ok(Err(error)) => Err(error),
                _ => Ok(Next::Ended),
            },
            _ => Ok(next),
        }
    }

    /// Lets it go on.
    pub fn resume(&self) {
        // It fails only for a child that has ended.
        let _ = kill_process(self.raw, Signal::CONT);
    }

    /// Ends it.
    pub fn kill(&self) {
        // It fails only for a child that has ended.
        let _ = kill_process(self.raw, Signal::KILL);
    }

    /// Whether it is stopped now (`T` in proc_pid_stat(5)).
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let name_end = stat.iter().rposition(|&byte| byte == b')');
        name_end.and_then(|end| stat.get(end + 2)) == Some(&b'T')
    }

    /// Reads a word of its memory.
    ///
    /// # Errors
    /// When nothing is mapped there.
    pub fn read_u32(&self, address: u64) -> io::Result<u32> {
        use std::os::unix::fs::FileExt as _;
        let mut word = [0; 4];
        File::open(format!("/proc/{}/mem", self.pid))?.read_exact_at(&mut word, address)?;
        Ok(u32::from_ne_bytes(word))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.resume();
    }
}

/// Gives up root, for good. Between fork and exec: system calls only.
fn become_user(user: &User) -> io::Result<()> {
    let check = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: a list and its length.
    check(unsafe { libc::setgroups(user.groups.len(), user.groups.as_ptr()) })?;
    // SAFETY: integer arguments.
    check(unsafe { libc::setresgid(user.group, user.group, user.group) })?;
    // SAFETY: as above.
    check(unsafe { libc::setresuid(user.user, user.user, user.user) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(words: &[&str]) -> Program {
        Program { name: words[0].into(), arguments: words[1..].iter().map(OsString::from).collect(), user: None }
    }

    #[test]
    fn a_program_waits_until_it_may_run() {
        let mut child = Child::fork(&program(&["true"])).unwrap();
        let own = std::fs::read_link("/proc/self/exe").unwrap();
        assert_eq!(std::fs::read_link(format!("/proc/{}/exe", child.pid)).unwrap(), own);
        child.go().unwrap();
        assert_eq!(child.wait().unwrap(), Next::Ended);
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let mut child = Child::fork(&program(&["/nonexistent/program"])).unwrap();
        child.go().unwrap();
        assert_eq!(child.wait().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_child_that_never_got_to_run_ends() {
        let child = Child::fork(&program(&["sleep", "60"])).unwrap();
        let pid = child.raw;
        drop(child);
        // Children that other tests fork meanwhile hold copies of the gate for a while.
        for _ in 0..6000 {
            if kill_process(pid, Signal::CONT).is_err() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("it still waits");
    }

    #[test]
    fn a_stopped_child_goes_on_when_it_is_let_go() {
        let mut child = Child::fork(&program(&["sh", "-c", "kill -STOP $$"])).unwrap();
        child.go().unwrap();
        assert_eq!(child.wait().unwrap(), Next::Stopped);
        child.resume();
        assert_eq!(child.wait().unwrap(), Next::Ended);
    }
}
