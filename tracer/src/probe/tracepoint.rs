//! Kernel tracepoints, attached by perf event.
//!
//! aya finds a tracepoint's id only where tracefs is mounted. Minimal systems and containers do not mount it, and tracer does
//! not change what is mounted: it opens an instance of tracefs that no path leads to.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

/// The tracefs of this kernel, through a mount that only this descriptor holds (`fsopen(2)`, Linux 5.2).
#[derive(Debug)]
pub struct Tracefs(OwnedFd);

/// A program attached to a tracepoint; closing it detaches.
#[derive(Debug)]
pub struct TracepointLink {
    _event: OwnedFd,
}

impl Tracefs {
    /// Opens it.
    ///
    /// # Errors
    /// What the kernel says; EPERM without CAP_SYS_ADMIN.
    pub fn open() -> io::Result<Self> {
        // SAFETY: a valid name.
        let context = unsafe { libc::syscall(libc::SYS_fsopen, c"tracefs".as_ptr(), libc::FSOPEN_CLOEXEC) };
        let context = owned(context)?;
        // SAFETY: a valid descriptor, no arguments for this command.
        let created = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                libc::FSCONFIG_CMD_CREATE,
                std::ptr::null::<u8>(),
                std::ptr::null::<u8>(),
                0,
            )
        };
        if created < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a valid descriptor.
        let mount = unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), libc::FSMOUNT_CLOEXEC, 0) };
        Ok(Self(owned(mount)?))
    }

    /// The id of a tracepoint.
    ///
    /// # Errors
    /// `NotFound` where the kernel does not have it.
    pub fn id(&self, category: &str, name: &str) -> io::Result<u64> {
        let path = std::ffi::CString::new(format!("events/{category}/{name}/id"))?;
        // SAFETY: a valid directory descriptor and path.
        let fd = unsafe { libc::openat(self.0.as_raw_fd(), path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        let mut text = String::new();
        File::from(owned(fd.into())?).take(32).read_to_string(&mut text)?;
        text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("tracepoint id {text:?}")))
    }

    /// Attaches a loaded tracepoint program, for all processes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn attach(&self, program: BorrowedFd<'_>, category: &str, name: &str) -> io::Result<TracepointLink> {
        let event = open_event(self.id(category, name)?)?;
        ioctl(&event, PERF_EVENT_IOC_SET_BPF, program.as_raw_fd())?;
        ioctl(&event, PERF_EVENT_IOC_ENABLE, 0)?;
        Ok(TracepointLink { _event: event })
    }
}

/// `_IOW('$', 8, u32)`, include/uapi/linux/perf_event.h.
const PERF_EVENT_IOC_SET_BPF: libc::Ioctl = 0x4004_2408;
/// `_IO('$', 0)`.
const PERF_EVENT_IOC_ENABLE: libc::Ioctl = 0x2400;
const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_FLAG_FD_CLOEXEC: u64 = 8;

/// The head of `struct perf_event_attr` (PERF_ATTR_SIZE_VER0); all else is zero.
#[repr(C)]
#[derive(Default)]
struct EventAttribute {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
}

/// A perf event of a tracepoint. A BPF program on it runs for all CPUs, whichever one the event is opened on: the program
/// belongs to the tracepoint (kernel/trace/bpf_trace.c, perf_event_attach_bpf_prog).
fn open_event(id: u64) -> io::Result<OwnedFd> {
    let attribute = EventAttribute {
        kind: PERF_TYPE_TRACEPOINT,
        size: size_of::<EventAttribute>() as u32,
        config: id,
        ..EventAttribute::default()
    };
    // SAFETY: a valid attribute that says its size.
    let fd = unsafe {
        libc::syscall(libc::SYS_perf_event_open, std::ptr::from_ref(&attribute), -1, 0, -1, PERF_FLAG_FD_CLOEXEC)
    };
    owned(fd)
}

fn ioctl(fd: &OwnedFd, request: libc::Ioctl, argument: i32) -> io::Result<()> {
    // SAFETY: a valid descriptor and an integer argument.
    if unsafe { libc::ioctl(fd.as_raw_fd(), request, argument) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system call returned a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}
