//! The process that holds links. It knows nothing of tracer's but what requests bring.

use std::{
    fs::File,
    io::{self, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, AsRawFd as _, IntoRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    panic::catch_unwind,
    path::Path,
    thread::{self, JoinHandle},
};

use rustix::{
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    process::{setpriority_process, setsid},
    thread::set_name,
};

use crate::{
    probe::multi::{Point, create_link},
    symbolize::confine::block_signals,
};

/// A request may be this large at most.
const MAX_POINTS: u32 = 1 << 20;
/// The stack of a thread: it makes system calls and little else.
const STACK: usize = 128 << 10;
/// Where the socket for requests is.
const REQUESTS: i32 = 3;

/// Serves until tracer has closed its end, or is gone, and all links with it.
pub fn serve(requests: &OwnedFd) -> ! {
    // A panic must not leave this function: tracer's stack is above.
    let served = catch_unwind(|| keep_only(requests).and_then(|requests| answer(&requests)));
    // SAFETY: always sound; ends the process without running what other threads registered.
    unsafe { libc::_exit(i32::from(!matches!(served, Ok(Ok(()))))) }
}

/// Leaves tracer: its signals, its session, its descriptors. Where windows open and close, it must not wait for a CPU.
fn keep_only(requests: &OwnedFd) -> io::Result<OwnedFd> {
    block_signals()?;
    // It cannot fail for a process that was just forked.
    let _ = setsid();
    let _ = set_name(c"tracer-attach");
    let _ = setpriority_process(None, -15);
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    // Copied first: one of the two may be where the other is to go.
    let requests = rustix::io::fcntl_dupfd_cloexec(requests, REQUESTS + 1)?;
    let nothing_too = rustix::io::fcntl_dupfd_cloexec(&nothing, REQUESTS + 1)?;
    // All of them are closed below, with the others.
    let [copied, requests, _] = [nothing_too, requests, nothing.into()].map(IntoRawFd::into_raw_fd);
    for (from, to) in [(copied, 0), (copied, 1), (copied, 2), (requests, REQUESTS)] {
        // SAFETY: integers; the descriptors that are replaced are this process's own copies, which nothing uses here.
        if unsafe { libc::dup2(from, to) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: integers; as above. A system call, as musl has no function for it.
    if unsafe { libc::syscall(libc::SYS_close_range, REQUESTS + 1, u32::MAX, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was opened above, and nothing else owns it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(REQUESTS) })
}

/// Gives each request a thread that waits until its link is wanted no more: closing one takes tens of milliseconds, for
/// which others cannot wait.
fn answer(requests: &OwnedFd) -> io::Result<()> {
    let mut holding: Vec<JoinHandle<()>> = Vec::new();
    while let Some(descriptors) = receive(requests)? {
        holding.retain(|thread| !thread.is_finished());
        // It fails for a link that is not wanted any more; the other side sees the end of its socket.
        let hold = move || hold(descriptors).unwrap_or_default();
        // Where there is no thread to be had, the request fails as its socket closes.
        holding.extend(thread::Builder::new().stack_size(STACK).spawn(hold));
    }
    for thread in holding {
        let _ = thread.join();
    }
    Ok(())
}

/// Program, file and leash of the next request; `None` when there are no more.
fn receive(requests: &OwnedFd) -> io::Result<Option<[OwnedFd; 3]>> {
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(requests, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC);
        match received {
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(message) if message.bytes == 0 => return Ok(None),
            Ok(_) => {}
        }
        let descriptors: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten()
            .collect();
        // Fewer come when there is no room for more.
        if let Ok(all) = descriptors.try_into() {
            return Ok(Some(all));
        }
    }
}

/// Attaches, says how that went, and detaches when the other side hangs up.
fn hold([program, file, leash]: [OwnedFd; 3]) -> io::Result<()> {
    let mut leash = UnixStream::from(leash);
    let mut head = [0; 16];
    leash.read_exact(&mut head)?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let [attach_type, flags, pid, count] = [0, 4, 8, 12].map(word);
    if count > MAX_POINTS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut points = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let [mut file_offset, mut cookie] = [[0; 8]; 2];
        leash.read_exact(&mut file_offset)?;
        leash.read_exact(&mut cookie)?;
        points.push(Point { file_offset: u64::from_le_bytes(file_offset), cookie: u64::from_le_bytes(cookie) });
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = create_link(program.as_fd(), Path::new(&path), (attach_type, flags), pid, &points);
    let errno = link.as_ref().err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
    leash.write_all(&errno.to_le_bytes())?;
    // Nothing more is sent: it returns at the end of the socket.
    let _ = leash.read(&mut [0]);
    drop(link);
    Ok(())
}
