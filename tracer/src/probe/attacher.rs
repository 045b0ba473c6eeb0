//! Attaches and detaches in a process of its own, so that breakpoints go even when tracer is killed.
//!
//! The kernel puts breakpoints in and takes them out in the context of the thread that asks for it, and gives up in the middle
//! where that has SIGKILL pending (`__get_user_pages` in mm/gup.c returns EINTR): "failed to unregister, leaking uprobe". So a
//! small process asks in tracer's place. It is in a session of its own, where no signal for tracer's process group finds it,
//! and sees by the end of a socket that a link is wanted no more, or that tracer is gone.

mod process;

use std::{
    io::{self, IoSlice, Read as _, Write as _},
    mem::MaybeUninit,
    net::Shutdown,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
        socketpair,
    },
    process::{Pid, WaitOptions, waitpid},
};

use self::process::serve;
use super::multi::Point;
use crate::target::CpuClocks;

/// The process. It ends when this is dropped.
#[derive(Debug)]
pub struct Attacher {
    pid: Pid,
    /// Takes requests: the program, the file, and the socket that stands for the link.
    requests: Option<OwnedFd>,
}

/// A link that the process holds. Dropping it detaches, and returns when the kernel has.
#[derive(Debug)]
pub struct Held {
    /// Its other end ends when there is no link any more.
    leash: UnixStream,
    /// The process outlives its links.
    _attacher: Arc<Attacher>,
}

/// What to attach, and how.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The program.
    pub program: BorrowedFd<'a>,
    /// The file.
    pub path: &'a Path,
    /// See `bpf(2)`, `BPF_LINK_CREATE`.
    pub attach_type: u32,
    /// Likewise.
    pub flags: u32,
    /// The process; 0 for all.
    pub pid: u32,
    /// Where.
    pub points: &'a [Point],
}

impl Attacher {
    /// Forks. To be done early: what tracer has in memory by then, the process keeps.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start() -> io::Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(io::Error::from)?;
        // SAFETY: the child never returns from `serve`. It allocates and starts threads, which glibc and musl permit in the
        // child of a threaded process (both make their own locks usable across fork), and takes no lock of tracer's.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => serve(&theirs),
            pid => Ok(Self { pid: Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?, requests: Some(ours) }),
        }
    }

    /// Attaches.
    ///
    /// # Errors
    /// What the kernel says; EPIPE or ECONNRESET when the process is gone.
    pub fn attach(self: &Arc<Self>, wanted: Wanted<'_>) -> io::Result<Held> {
        let (mut leash, theirs) = UnixStream::pair()?;
        let file = openat(CWD, wanted.path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let descriptors = [wanted.program, file.as_fd(), theirs.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let requests = self.requests.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        sendmsg(requests, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
        drop(theirs);
        leash.write_all(&request(&wanted))?;
        let mut errno = [0; 4];
        leash.read_exact(&mut errno)?;
        match i32::from_le_bytes(errno) {
            0 => Ok(Held { leash, _attacher: Arc::clone(self) }),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// A descriptor that is readable when the process is gone.
    ///
    /// # Errors
    /// When there is no descriptor to be had.
    pub fn end(&self) -> io::Result<OwnedFd> {
        self.requests.as_ref().ok_or(io::ErrorKind::BrokenPipe)?.try_clone()
    }

    /// CPU time that it has used.
    pub fn cpu(&self) -> Duration {
        let mut clock = CpuClocks::default();
        clock.follow(&[self.id()]);
        clock.now()
    }

    /// Memory that it has for itself, in bytes (`Private_*` of smaps_rollup).
    pub fn private_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.id())).unwrap_or_default();
        let private = text.lines().filter(|line| line.starts_with("Private_"));
        let kib = private.filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
        kib.sum::<u64>() << 10
    }

    fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }
}

impl Drop for Attacher {
    fn drop(&mut self) {
        // It sees the end, and has no link left: they outlive nothing that this owns.
        self.requests = None;
        // Fails only when it was waited for by other means.
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Where the process is gone, so are its links.
        let _ = self.leash.shutdown(Shutdown::Write);
        let _ = self.leash.read(&mut [0]);
    }
}

/// Everything but the descriptors, as [`process`] reads it.
fn request(wanted: &Wanted<'_>) -> Vec<u8> {
    let head = [wanted.attach_type, wanted.flags, wanted.pid, wanted.points.len() as u32];
    let points = wanted.points.iter().flat_map(|point| [point.file_offset, point.cookie]);
    head.iter().flat_map(|word| word.to_le_bytes()).chain(points.flat_map(u64::to_le_bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::own::EXECUTABLE;

    /// Something that is no program.
    fn attach(attacher: &Arc<Attacher>) -> io::Result<Held> {
        let file = std::fs::File::open(EXECUTABLE).unwrap();
        let points = [Point { file_offset: 0, cookie: 0 }; 300];
        let path = Path::new(EXECUTABLE);
        attacher.attach(Wanted { program: file.as_fd(), path, attach_type: 48, flags: 0, pid: 0, points: &points })
    }

    #[test]
    fn what_the_kernel_says_comes_back() {
        let attacher = Arc::new(Attacher::start().unwrap());
        for _ in 0..20 {
            // EPERM without root.
            let errno = attach(&attacher).unwrap_err().raw_os_error();
            assert!(errno == Some(libc::EINVAL) || errno == Some(libc::EPERM), "{errno:?}");
        }
        assert!(attacher.cpu() > Duration::ZERO);
    }

    #[test]
    fn a_process_that_is_gone_is_noticed() {
        let attacher = Arc::new(Attacher::start().unwrap());
        let end = attacher.end().unwrap();
        rustix::process::kill_process(attacher.pid, rustix::process::Signal::KILL).unwrap();
        let mut ends = [rustix::event::PollFd::new(&end, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut ends, None).unwrap(), 1);
        assert!(matches!(
            attach(&attacher).unwrap_err().kind(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
        ));
    }
}
