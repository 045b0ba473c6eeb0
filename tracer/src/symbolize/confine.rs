//! Work on hostile input in a process of its own, with a limit on memory and time and without privileges.
//!
//! The library that reads DWARF is written for honest files. Nested entries can exhaust its stack, tables that refer to
//! each other can make it need memory or time out of all proportion, and none of this can be caught inside the process. So
//! it happens in a child process, as systemd does with core dumps (`coredump.c`, "parse in a forked process"). Whatever
//! happens to the child, tracer goes on, and says which file it was.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Gid, Pid, Resource, Rlimit, Signal, Uid, WaitOptions, getpid, getppid, kill_process,
    set_dumpable_behavior, set_parent_process_death_signal, setrlimit, waitpid,
};
use rustix::stdio::dup2_stderr;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::unresolved::Failure;

/// An answer may be this long at most.
const MAX_ANSWER: usize = 1 << 30;
/// `nobody`.
const NOBODY: u32 = 65534;

/// What the work may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Address space in bytes, beyond what tracer itself has.
    pub memory: u64,
    /// Time by the clock.
    pub time: Duration,
}

/// Runs `work` in a child process and gives what it returns.
///
/// # Errors
/// When the child does not return within its limits.
pub fn confined(limits: Limits, work: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, Failure> {
    /// Two children at the same time must not inherit each other's pipes: the end of an answer would not be seen.
    static FORK: Mutex<()> = Mutex::new(());
    let guard = FORK.lock().unwrap_or_else(PoisonError::into_inner);
    let (answer, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(|_| Failure::NotStarted)?;
    let parent = getpid();
    // SAFETY: the child runs `work` and leaves through `_exit`: it never returns into code that expects other threads. It
    // allocates, which glibc and musl permit in the child of a threaded process (both hold the allocator's locks across
    // fork); it takes no other lock that another thread of this program could hold: no standard stream, no environment, no
    // panic hook but its own.
    let child = unsafe { libc::fork() };
    match child {
        -1 => Err(Failure::NotStarted),
        0 => run(parent, limits, &writer, work),
        child => {
            drop(writer);
            drop(guard);
            let child = Pid::from_raw(child).ok_or(Failure::NotStarted)?;
            let received = receive(answer, Instant::now() + limits.time);
            if received.is_err() {
                let _ = kill_process(child, Signal::KILL);
            }
            let ended = waitpid(Some(child), WaitOptions::empty());
            let answer = received?;
            match ended {
                Ok(Some((_, status))) if status.exit_status() == Some(0) => Ok(answer),
                _ => Err(Failure::Crashed),
            }
        }
    }
}

/// Gives up root's rights for the rest of the confined work. Files that are open stay so.
pub fn drop_privileges() {
    // Threads have rights of their own in the kernel; the child has one thread. Where this fails there was nothing to give
    // up, or the user namespace has no such user.
    let (nobody, nogroup) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let _ = set_thread_groups(&[]);
    let _ = set_thread_res_gid(nogroup, nogroup, nogroup);
    let _ = set_thread_res_uid(nobody, nobody, nobody);
}

/// The child.
fn run(parent: Pid, limits: Limits, writer: &OwnedFd, work: impl FnOnce() -> Vec<u8>) -> ! {
    let done = prepare(parent, limits).and_then(|()| {
        std::panic::set_hook(Box::new(|_| {}));
        let answer = catch_unwind(AssertUnwindSafe(work)).map_err(|_| io::Error::other("panic"))?;
        File::from(writer.as_fd().try_clone_to_owned()?).write_all(&answer)
    });
    // SAFETY: always sound; ends the process without running what other threads registered.
    unsafe { libc::_exit(i32::from(done.is_err())) }
}

fn prepare(parent: Pid, limits: Limits) -> io::Result<()> {
    // When tracer is killed, nothing of it may go on.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(parent) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    block_signals()?;
    // A crash here is an expected outcome: no core dump, no message.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    dup2_stderr(open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)?;
    let memory = address_space()?.saturating_add(limits.memory);
    setrlimit(Resource::As, Rlimit { current: Some(memory), maximum: Some(memory) })?;
    Ok(())
}

/// A handler of tracer's would write into descriptors that the child may have reused.
fn block_signals() -> io::Result<()> {
    // SAFETY: all zero bits are a valid signal set.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `all` is valid for writing.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: `all` is valid for reading, and no old set is asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Bytes of address space in use (proc_pid_statm(5), field 1).
fn address_space() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split(' ').next().and_then(|pages| pages.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    Ok(pages.saturating_mul(rustix::param::page_size() as u64))
}

/// Reads until the child closes its end.
fn receive(pipe: OwnedFd, deadline: Instant) -> Result<Vec<u8>, Failure> {
    let mut pipe = File::from(pipe);
    let mut answer = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let left = deadline.checked_duration_since(Instant::now()).ok_or(Failure::TimedOut)?;
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&left)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => return Err(Failure::NotStarted),
        }
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(count) if answer.len() + count > MAX_ANSWER => return Err(Failure::TooLarge),
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Failure::NotStarted),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    const LIMITS: Limits = Limits { memory: 1 << 30, time: Duration::from_secs(60) };

    #[test]
    fn an_answer_comes_back_whole() {
        let long: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
        assert_eq!(confined(LIMITS, || long.clone()), Ok(long));
        assert_eq!(confined(LIMITS, Vec::new), Ok(vec![]));
    }

    #[test]
    fn a_panic_is_contained() {
        assert_eq!(confined(LIMITS, || panic!("malformed")), Err(Failure::Crashed));
    }

    #[test]
    fn a_stack_overflow_is_contained() {
        #[expect(unconditional_recursion, reason = "that is what it is for")]
        fn deeper(depth: u64) -> u64 {
            let array = black_box([depth; 64]);
            deeper(depth + 1) + array[1]
        }
        let result = confined(LIMITS, || deeper(0).to_le_bytes().to_vec());
        assert_eq!(result, Err(Failure::Crashed));
    }

    #[test]
    fn memory_is_bounded() {
        let result = confined(LIMITS, || {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(black_box(vec![1; 1 << 20]));
            }
        });
        assert_eq!(result, Err(Failure::Crashed));
    }

    #[test]
    fn time_is_bounded() {
        let limits = Limits { time: Duration::from_millis(50), ..LIMITS };
        let result = confined(limits, || {
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        assert_eq!(result, Err(Failure::TimedOut));
    }

    #[test]
    fn rights_are_given_up() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let seen = confined(LIMITS, || {
            drop_privileges();
            fs::read_to_string("/proc/self/status").unwrap().into_bytes()
        });
        let seen = String::from_utf8(seen.unwrap()).unwrap();
        assert!(seen.contains("Uid:\t65534\t65534\t65534\t65534"), "{seen}");
        assert!(seen.contains("CapEff:\t0000000000000000"), "{seen}");
        assert!(rustix::process::geteuid().is_root());
    }
}
