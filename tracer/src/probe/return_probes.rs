//! Whether return probes are safe here, found out by trying.
//!
//! Since Linux 6.11 a function under a return probe returns by way of a system call of its own (`uretprobe`), which the
//! filters of sandboxes and containers do not know: they end the process. Since 6.14, and in later releases of older
//! series, filters are not asked about it ("seccomp: passthrough uretprobe systemcall without filtering"). A process may set
//! a filter at any time, so it does not help to look whether it has one.

use std::{
    io::{self, Read as _, Write as _},
    os::fd::AsRawFd as _,
    path::Path,
};

use aya::EbpfLoader;
use rustix::process::{Pid, WaitOptions, waitpid};

use super::{
    OBJECT,
    features::RING_BYTES,
    multi::{LinkKind, MultiProgram, Point},
    own::{EXECUTABLE, file_offset, never_called},
    programs::map_fd,
};

/// `__NR_uretprobe` on x86-64 (arch/x86/entry/syscalls/syscall_64.tbl).
const URETPROBE: u32 = 335;

/// Whether a child of tracer survives a return probe under a filter that forbids what it does not know.
///
/// # Errors
/// When that cannot be tried.
pub fn pass_filters() -> anyhow::Result<bool> {
    survives(URETPROBE)
}

fn survives(forbidden: u32) -> anyhow::Result<bool> {
    let ebpf = EbpfLoader::new().map_max_entries("EVENTS", RING_BYTES).load(OBJECT)?;
    let program = MultiProgram::load(OBJECT, "empty", LinkKind::Return, |name| ebpf.map(name).and_then(map_fd))?;
    let point = Point { file_offset: file_offset(never_called as extern "C" fn() as usize)?, cookie: 0 };
    let (mut gate_reader, mut gate) = io::pipe()?;
    let gate_fd = gate.as_raw_fd();
    // SAFETY: the child makes system calls only, allocates nothing and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: the child's own copy, which nothing uses here; with it open the gate would never close.
        unsafe { libc::close(gate_fd) };
        let is_open = gate_reader.read_exact(&mut [0]).is_ok() && forbid(forbidden);
        if is_open {
            never_called();
            std::hint::black_box(rustix::process::getppid());
        }
        // SAFETY: ends this process, and nothing else.
        unsafe { libc::_exit(libc::c_int::from(!is_open)) };
    }
    let Some(child) = Pid::from_raw(child).filter(|_| child > 0) else { return Err(io::Error::last_os_error().into()) };
    let link = program.attach(Path::new(EXECUTABLE), &[point], u32::try_from(child.as_raw_nonzero().get()).ok());
    let opened = if link.is_ok() { gate.write_all(&[1]) } else { Ok(()) };
    drop(gate);
    let status = waitpid(Some(child), WaitOptions::empty())?.map(|(_, status)| status);
    drop(link?);
    opened?;
    let status = status.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    match status.exit_status() {
        Some(0) => Ok(true),
        Some(_) => anyhow::bail!("a child could not set a filter for system calls"),
        None => Ok(false),
    }
}

/// Has the kernel end this process at a system call (seccomp(2)).
fn forbid(call: u32) -> bool {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // The first word of `struct seccomp_data` is the number of the call.
    let mut filter = [
        step(LOAD, 0, 0, 0),
        step(JUMP_IF_EQUAL, 0, 1, call),
        step(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: integer arguments.
    let is_bound = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == 0;
    // SAFETY: the filter lives through the call.
    is_bound && unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) } == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_is_ended_is_noticed() {
        if super::super::features::bpf_program().is_err() {
            eprintln!("skipped: loading BPF programs needs root");
            return;
        }
        assert!(!survives(libc::SYS_getppid as u32).unwrap());
        // A call that it does not make.
        assert!(survives(libc::SYS_acct as u32).unwrap());
    }
}
