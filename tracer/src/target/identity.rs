//! Which process a process id stands for.

mod stat;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use thiserror::Error;

use self::stat::{Stat, Status};

/// `PF_KTHREAD` of `include/linux/sched.h`, in field 9 of `/proc/PID/stat`.
const PF_KTHREAD: u64 = 0x0020_0000;

/// A live user-space process, as it was when it was opened.
#[derive(Debug)]
pub struct Process {
    /// Process id in tracer's pid namespace.
    pub pid: u32,
    /// When it started, in clock ticks since boot. With `pid` it names one process for ever.
    pub start_time: u64,
    /// Name (`comm`), control characters replaced.
    pub name: String,
    /// Path of its executable, as the target sees it.
    pub executable: PathBuf,
    /// Effective user id, as tracer's user namespace has it.
    pub uid: u32,
    /// Process id in its own pid namespace: the one it calls itself.
    pub namespace_pid: u32,
    /// Inode of its pid namespace.
    pub pid_namespace: u64,
    /// Inode of its mount namespace.
    pub mount_namespace: u64,
    /// Threads it had.
    pub threads: u32,
    pidfd: OwnedFd,
}

/// Why a process id cannot be traced.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// There is none.
    #[error("no process has the id {0}; `ps -e` lists those that run")]
    NotFound(u32),
    /// It is a thread id.
    #[error("{thread} is a thread of process {process}; use --pid {process}")]
    Thread {
        /// The id that was given.
        thread: u32,
        /// The process it belongs to.
        process: u32,
    },
    /// It has ended; its parent has not collected it.
    #[error("process {pid} ({name}) has ended and waits for its parent to notice: nothing is left to trace")]
    Zombie {
        /// Process id.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// Its main thread has ended, others go on.
    #[error(
        "the main thread of process {pid} ({name}) has ended while others go on: through it the kernel attaches probes to a \
         process and shows its files, so it cannot be traced any more"
    )]
    MainThreadEnded {
        /// Process id.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// It runs in the kernel only.
    #[error("{pid} ({name}) is a kernel thread: it has no user-space allocator")]
    KernelThread {
        /// Process id.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// It is of another architecture.
    #[error("process {pid} ({name}) runs a 32-bit program; tracer can only trace 64-bit ones")]
    Not64Bit {
        /// Process id.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// The kernel refuses.
    #[error("process {0} may not be read by this user; run tracer with sudo")]
    Denied(u32),
    /// Anything else.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
}

impl Process {
    /// Finds out what `pid` is.
    ///
    /// # Errors
    /// When it is not a live user-space process that tracer may read.
    pub fn open(pid: u32) -> Result<Self, ProcessError> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(ProcessError::NotFound(pid))?;
        // The descriptor comes first and is asked again at the end: everything read between is of this process, not of a
        // later one with the same id.
        let pidfd = match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // A thread id is EINVAL, since Linux 6.9 ENOENT (kernel/fork.c).
            Err(Errno::INVAL | Errno::NOENT) => return Err(not_a_process(pid)),
            Err(Errno::SRCH) => return Err(ProcessError::NotFound(pid)),
            Err(errno) => {
                return Err(ProcessError::Unreadable { path: format!("process {pid}"), source: errno.into() });
            }
        };
        let stat = Stat::parse(&read(pid, "stat")?).ok_or_else(|| malformed(pid, "stat"))?;
        if has_ended(&stat) {
            // It counts while it waits for its parent.
            if stat.threads > 1 {
                return Err(ProcessError::MainThreadEnded { pid, name: stat.name });
            }
            return Err(ProcessError::Zombie { pid, name: stat.name });
        }
        if stat.flags & PF_KTHREAD != 0 {
            return Err(ProcessError::KernelThread { pid, name: stat.name });
        }
        let status = Status::parse(&read(pid, "status")?).ok_or_else(|| malformed(pid, "status"))?;
        let executable = fs::read_link(format!("/proc/{pid}/exe")).map_err(|error| failed(pid, "exe", error))?;
        if is_32_bit(pid)? {
            return Err(ProcessError::Not64Bit { pid, name: stat.name });
        }
        let process = Self {
            pid,
            start_time: stat.start_time,
            name: stat.name,
            executable,
            uid: status.uid,
            namespace_pid: status.namespace_pid,
            pid_namespace: namespace(pid, "ns/pid")?,
            mount_namespace: namespace(pid, "ns/mnt")?,
            threads: stat.threads,
            pidfd,
        };
        if process.has_ended() { Err(ProcessError::NotFound(pid)) } else { Ok(process) }
    }

    /// Becomes readable when the process ends.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whether the process has ended.
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(ready) if ready > 0)
    }

    /// Whether its main thread has ended while others go on.
    pub fn main_thread_has_ended(&self) -> bool {
        let stat = read(self.pid, "stat").ok().and_then(|text| Stat::parse(&text));
        stat.is_some_and(|stat| has_ended(&stat)) && !self.has_ended()
    }
}

/// Whether the main thread has ended.
fn has_ended(stat: &Stat) -> bool {
    stat.state == b'Z' || stat.state == b'X'
}

/// Whether its executable says so (`EI_CLASS` of elf(5)).
fn is_32_bit(pid: u32) -> Result<bool, ProcessError> {
    let mut identity = Vec::with_capacity(5);
    let executable = File::open(format!("/proc/{pid}/exe")).map_err(|error| failed(pid, "exe", error))?;
    executable.take(5).read_to_end(&mut identity).map_err(|error| failed(pid, "exe", error))?;
    Ok(identity == b"\x7fELF\x01")
}

/// The error for an id that has no process descriptor.
fn not_a_process(pid: u32) -> ProcessError {
    match read(pid, "status").ok().and_then(|text| Status::parse(&text)) {
        Some(status) if status.process != pid => ProcessError::Thread { thread: pid, process: status.process },
        _ => ProcessError::NotFound(pid),
    }
}

fn read(pid: u32, file: &str) -> Result<Vec<u8>, ProcessError> {
    fs::read(format!("/proc/{pid}/{file}")).map_err(|error| failed(pid, file, error))
}

fn namespace(pid: u32, file: &str) -> Result<u64, ProcessError> {
    fs::metadata(format!("/proc/{pid}/{file}")).map(|data| data.ino()).map_err(|error| failed(pid, file, error))
}

fn failed(pid: u32, file: &str, error: io::Error) -> ProcessError {
    match error.kind() {
        io::ErrorKind::NotFound => ProcessError::NotFound(pid),
        // ESRCH: the process ended between open and read.
        _ if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => ProcessError::NotFound(pid),
        io::ErrorKind::PermissionDenied => ProcessError::Denied(pid),
        _ => ProcessError::Unreadable { path: format!("/proc/{pid}/{file}"), source: error },
    }
}

fn malformed(pid: u32, file: &str) -> ProcessError {
    ProcessError::Unreadable {
        path: format!("/proc/{pid}/{file}"),
        source: io::Error::new(io::ErrorKind::InvalidData, "not in the form that proc(5) describes"),
    }
}

/// Text for people out of bytes the target chose.
pub(crate) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|character| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn a_process_is_known_and_its_end_is_noticed() {
        let mut child = sleeper();
        let process = Process::open(child.id()).unwrap();
        assert_eq!((process.pid, process.namespace_pid, process.threads), (child.id(), child.id(), 1));
        assert_eq!(process.uid, fs::metadata("/proc/self").unwrap().uid());
        assert_eq!(process.mount_namespace, fs::metadata("/proc/self/ns/mnt").unwrap().ino());
        assert!(!process.has_ended());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(process.has_ended());
        assert!(matches!(Process::open(child.id()), Err(ProcessError::NotFound(_))));
    }

    #[test]
    fn a_zombie_is_named() {
        let mut child = sleeper();
        child.kill().unwrap();
        let begun = Instant::now();
        let error = loop {
            match Process::open(child.id()) {
                Err(ProcessError::Zombie { pid, .. }) => break pid,
                other => assert!(begun.elapsed() < Duration::from_secs(20), "{other:?}"),
            }
        };
        assert_eq!(error, child.id());
        child.wait().unwrap();
    }

    #[test]
    fn a_thread_id_leads_to_its_process() {
        let (send, receive) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            send.send(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()).unwrap();
            let _ = stopped.recv();
        });
        let tid = receive.recv().unwrap();
        match Process::open(tid).unwrap_err() {
            ProcessError::Thread { thread, process } => assert_eq!((thread, process), (tid, std::process::id())),
            other => panic!("{other}"),
        }
        drop(stop);
        thread.join().unwrap();
    }

    #[test]
    fn a_32_bit_process_is_named() {
        let directory = tempfile::tempdir().unwrap();
        // pause(2) is number 29.
        let source = ".globl _start\n_start: mov $29, %eax\nint $0x80\njmp _start\n";
        fs::write(directory.path().join("a.s"), source).unwrap();
        let mut gcc = Command::new("gcc");
        gcc.args(["-m32", "-nostdlib", "-static", "a.s", "-o", "a"]).current_dir(&directory);
        let child = gcc.output().ok().filter(|made| made.status.success());
        let child = child.and_then(|_| Command::new(directory.path().join("a")).spawn().ok());
        let Some(mut child) = child else {
            println!("skipped: 32-bit programs cannot be made or run here");
            return;
        };
        let opened = Process::open(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(opened, Err(ProcessError::Not64Bit { .. })), "{opened:?}");
    }

    #[test]
    fn ids_that_cannot_be_are_not_found() {
        for pid in [0, u32::MAX, i32::MAX.cast_unsigned()] {
            assert!(matches!(Process::open(pid), Err(ProcessError::NotFound(_))), "{pid}");
        }
    }

    #[test]
    fn kernel_threads_are_refused() {
        // Process 2 is kthreadd, except inside a pid namespace.
        if fs::read("/proc/2/comm").is_ok_and(|name| name == b"kthreadd\n") {
            assert!(matches!(Process::open(2), Err(ProcessError::KernelThread { .. })));
        } else {
            println!("skipped: this pid namespace shows no kernel threads");
        }
    }
}
