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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};
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
    /// Address space in bytes beyond what tracer itself has, and size of any file it makes.
    pub memory: u64,
    /// Time by the clock.
    pub time: Duration,
}

impl Default for Limits {
    /// Two minutes, and a quarter of the memory that is available now, at most 16 GiB.
    fn default() -> Self {
        let memory = available_memory().unwrap_or(4 << 30) / 4;
        Self { memory: memory.min(16 << 30), time: Duration::from_secs(120) }
    }
}

/// `MemAvailable` of proc_meminfo(5), in bytes.
fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Runs `work` in a child process and gives what it returns.
///
/// # Errors
/// When the child does not return within its limits.
pub fn confined(limits: Limits, work: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, Failure> {
    /// Two children at the same time must not inherit each other's pipes: the end of an answer would not be seen.
    static FORK: Mutex<()> = Mutex::new(());
    QUIET_PANICS.call_once(quiet_panics);
    let guard = FORK.lock().unwrap_or_else(PoisonError::into_inner);
    let (answer, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(|_| Failure::NotStarted)?;
    let parent = getpid();
    // SAFETY: the child runs `work` and leaves through `_exit`: it never returns into code that expects other threads. It
    // allocates, which glibc and musl permit in the child of a threaded process (both hold the allocator's locks across
    // fork); it takes no other lock that another thread could hold at this moment: no standard stream, no environment, and
    // its panics take the way of `quiet_panics`.
    let child = unsafe { libc::fork() };
    match child {
        -1 => Err(Failure::NotStarted),
        0 => run(parent, limits, &writer, work),
        child => {
            drop(writer);
            drop(guard);
            let child = Pid::from_raw(child).ok_or(Failure::NotStarted)?;
            let received = receive(answer, Instant::now() + limits.time);
            // It has answered, or ended, or must end now.
            let _ = kill_process(child, Signal::KILL);
            let _ = waitpid(Some(child), WaitOptions::empty());
            received
        }
    }
}

/// Set in a child.
static CONFINED: AtomicBool = AtomicBool::new(false);
static QUIET_PANICS: Once = Once::new();

/// Panics of a child are expected, and must not print: the lock of the stream may have been held when it was forked. A
/// child cannot change the hook itself, since a thread that panics holds the hook's lock.
fn quiet_panics() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !CONFINED.load(Ordering::Relaxed) {
            others(panic);
        }
    }));
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
        CONFINED.store(true, Ordering::Relaxed);
        let answer = catch_unwind(AssertUnwindSafe(work)).map_err(|_| io::Error::other("panic"))?;
        let mut pipe = File::from(writer.as_fd().try_clone_to_owned()?);
        pipe.write_all(&(answer.len() as u64).to_le_bytes())?;
        pipe.write_all(&answer)
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
    // Should the machine run short of memory, this process goes first, not the target. Refused in some containers.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let memory = address_space()?.saturating_add(limits.memory);
    setrlimit(Resource::As, Rlimit { current: Some(memory), maximum: Some(memory) })?;
    // Files in memory count too.
    setrlimit(Resource::Fsize, Rlimit { current: Some(limits.memory), maximum: Some(limits.memory) })?;
    Ok(())
}

/// A handler of tracer's would write into descriptors that the child may have reused.
pub(crate) fn block_signals() -> io::Result<()> {
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

/// Reads the answer: its length, then its bytes.
fn receive(pipe: OwnedFd, deadline: Instant) -> Result<Vec<u8>, Failure> {
    let mut pipe = Timed { pipe: File::from(pipe), deadline };
    let mut length = [0; 8];
    pipe.fill(&mut length)?;
    let length = usize::try_from(u64::from_le_bytes(length)).ok().filter(|&length| length <= MAX_ANSWER);
    let mut answer = vec![0; length.ok_or(Failure::TooLarge)?];
    pipe.fill(&mut answer)?;
    Ok(answer)
}

struct Timed {
    pipe: File,
    deadline: Instant,
}

impl Timed {
    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), Failure> {
        while !buffer.is_empty() {
            let left = self.deadline.checked_duration_since(Instant::now()).ok_or(Failure::TimedOut)?;
            let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], Some(&left)) {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(_) => return Err(Failure::NotStarted),
            }
            match self.pipe.read(buffer) {
                // The child has ended early.
                Ok(0) => return Err(Failure::Crashed),
                Ok(count) => buffer = &mut buffer[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Failure::NotStarted),
            }
        }
        Ok(())
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
